// One device may not know another, nor the public headers.
#include <smcd/public.hpp>

#include "devices/fault/fault.hpp"
