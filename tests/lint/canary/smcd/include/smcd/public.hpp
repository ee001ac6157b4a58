// A public header needs no includer.
#pragma once
