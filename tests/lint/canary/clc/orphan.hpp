// Included only from a floor below, which is wrong there.
#pragma once

#include <boost/asio/io_context.hpp>
#include <spdlog/spdlog.h>

#include "smcd/base/clean.hpp"
