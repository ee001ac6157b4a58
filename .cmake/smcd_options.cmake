# Language, warnings, sanitizers, output folders and the compiler cache: the same for every room.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()

set(SMCD_SANITIZE "" CACHE STRING "address (with undefined behaviour), thread, or empty")
set_property(CACHE SMCD_SANITIZE PROPERTY STRINGS "" address thread)

# -g1 keeps line numbers for backtraces at a third of the build time that full -g costs here.
# Sanitized builds keep SMCD_DCHECK on: no NDEBUG.
if(SMCD_SANITIZE STREQUAL "")
    set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG")
    set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG")
else()
    set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1")
    set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O1 -g1")
endif()

add_compile_definitions(_GNU_SOURCE)
# Includes are written from the root, in programs and tests too.
include_directories("${PROJECT_SOURCE_DIR}")
# -fPIC for programs too: with one code model everywhere, tests can share precompiled headers.
add_compile_options(-fPIC -fvisibility=hidden $<$<COMPILE_LANGUAGE:CXX>:-fvisibility-inlines-hidden>)
add_compile_options(-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wswitch-enum -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # A unique symbol would pin the preloaded library in memory and leak through its version script.
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fno-gnu-unique>)
endif()

if(SMCD_SANITIZE STREQUAL "address")
    # Null pointers and dead objects are AddressSanitizer's anyway, at a fifth of the build time.
    add_compile_options(-fsanitize=address,undefined -fno-sanitize=null,vptr
                        -fno-sanitize-recover=all -fno-omit-frame-pointer)
    add_link_options(-fsanitize=address,undefined)
elseif(SMCD_SANITIZE STREQUAL "thread")
    add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
    add_link_options(-fsanitize=thread)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        # Fences order the bell protocol; the sanitizer does not model them, and says so each time.
        add_compile_options(-Wno-tsan)
    endif()
elseif(NOT SMCD_SANITIZE STREQUAL "")
    message(FATAL_ERROR "SMCD_SANITIZE must be empty, address or thread, not ${SMCD_SANITIZE}")
endif()

# smcd_compile_in_batches(): the rest of a folder is compiled a dozen files at a time, in half the time: what matters is how
# long it takes to build, not how fast it runs, or what is compiled anew for one changed file. Off for tools that want each
# file by itself, clang-tidy for one. smcd_by_itself(): files that do not share
# names well with their neighbours.
option(SMCD_BATCHES "compile tests, tools and sanitized trees a dozen files at a time" ON)
macro(smcd_compile_in_batches)
    set(CMAKE_UNITY_BUILD ${SMCD_BATCHES})
    set(CMAKE_UNITY_BUILD_BATCH_SIZE 12)
endmacro()
function(smcd_by_itself)
    set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()
if(NOT SMCD_SANITIZE STREQUAL "")
    smcd_compile_in_batches()
endif()

# smcd_sanitize_less(): for the rest of a folder that reads no shared memory and whose speed does not matter: half its build
# time. THREADLESS: programs of one thread.
macro(smcd_sanitize_less)
    if(NOT SMCD_SANITIZE STREQUAL "")
        add_compile_options(-O0)
    endif()
    if(SMCD_SANITIZE STREQUAL "address")
        add_compile_options(-fno-sanitize=alignment,pointer-overflow)
    elseif(SMCD_SANITIZE STREQUAL "thread" AND "${ARGV0}" STREQUAL "THREADLESS")
        add_compile_options(-fno-sanitize=thread)
    endif()
endmacro()

# A rejected precompiled header costs time, never correctness; it must not break the build.
set(CMAKE_PCH_WARN_INVALID OFF)

find_program(SMCD_CCACHE ccache)
if(SMCD_CCACHE)
    # Without these two relaxations ccache refuses every file that uses a precompiled header.
    set(smcd_launcher "${CMAKE_COMMAND}" -E env CCACHE_SLOPPINESS=pch_defines,time_macros
                      "${SMCD_CCACHE}")
    set(CMAKE_CXX_COMPILER_LAUNCHER "${smcd_launcher}")
    set(CMAKE_C_COMPILER_LAUNCHER "${smcd_launcher}")
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        add_compile_options(-fpch-preprocess)
    endif()
endif()
