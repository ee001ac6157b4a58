# Helpers for the rooms' CMakeLists.txt.

set(SMCD_SKIP_ROOMS "" CACHE STRING "folders (from the root) to leave out, for work on a lower floor")

# smcd_add_rooms(dir...): adds each folder below the current one that has a CMakeLists.txt.
function(smcd_add_rooms)
    foreach(room IN LISTS ARGN)
        cmake_path(RELATIVE_PATH CMAKE_CURRENT_SOURCE_DIR BASE_DIRECTORY "${PROJECT_SOURCE_DIR}"
                   OUTPUT_VARIABLE here)
        cmake_path(APPEND here "${room}" OUTPUT_VARIABLE path)
        cmake_path(NORMAL_PATH path)
        if("${path}" IN_LIST SMCD_SKIP_ROOMS)
            continue()
        endif()
        if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${room}/CMakeLists.txt")
            add_subdirectory("${room}")
        endif()
    endforeach()
endfunction()

# smcd_room(NAME target [SOURCES file...] [DEPS target...] [PRIVATE_DEPS target...])
# One static library per room; a room without sources (headers only) becomes an INTERFACE target.
# DEPS are visible to the users of the room.
function(smcd_room)
    cmake_parse_arguments(ROOM "" "NAME" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
    if(ROOM_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "smcd_room(${ROOM_NAME}): unknown ${ROOM_UNPARSED_ARGUMENTS}")
    endif()
    if(NOT ROOM_SOURCES)
        add_library(${ROOM_NAME} INTERFACE)
        target_include_directories(${ROOM_NAME} INTERFACE "${PROJECT_SOURCE_DIR}")
        target_link_libraries(${ROOM_NAME} INTERFACE ${ROOM_DEPS})
        return()
    endif()
    add_library(${ROOM_NAME} STATIC ${ROOM_SOURCES})
    target_include_directories(${ROOM_NAME} PUBLIC "${PROJECT_SOURCE_DIR}"
                                                   "${PROJECT_SOURCE_DIR}/smcd/include")
    target_link_libraries(${ROOM_NAME} PUBLIC ${ROOM_DEPS} PRIVATE ${ROOM_PRIVATE_DEPS})
endfunction()
