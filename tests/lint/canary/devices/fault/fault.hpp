// Allowed: a device uses the base.
#pragma once

#include "smcd/base/clean.hpp"
