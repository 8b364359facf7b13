// Included first in every file under AddressSanitizer. Abseil's hash tables
// would have members, and poisoned slots, of which Debian's library, which is
// not instrumented, knows nothing.

#ifndef IM_CMAKE_ABSEIL_AS_PACKAGED_H_
#define IM_CMAKE_ABSEIL_AS_PACKAGED_H_

#include "absl/base/config.h"

#undef ABSL_HAVE_ADDRESS_SANITIZER

#endif  // IM_CMAKE_ABSEIL_AS_PACKAGED_H_
