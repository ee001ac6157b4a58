// Nobody includes this header.
#pragma once
