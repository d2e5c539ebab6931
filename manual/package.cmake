# cpack makes a Debian package of what is installed: in the build folder, after building,
# `cpack`. Included by the project's CMakeLists.txt, and by cpack once its files are
# gathered, for what Debian wants otherwise than other prefixes do.

if(DEFINED CPACK_TEMPORARY_INSTALL_DIRECTORY) # gathered
    set(usr ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr)
    set(doc ${usr}/share/doc/tiltrec)
    file(RENAME ${doc}/LICENSE ${doc}/copyright)
    file(RENAME ${doc}/CHANGELOG.md ${doc}/changelog)
    # Debian's zsh looks there below /usr.
    file(RENAME ${usr}/share/zsh/site-functions ${usr}/share/zsh/vendor-completions)
    set(ENV{LC_ALL} C)
    string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
    file(WRITE ${doc}/changelog.Debian
"tiltrec (${CPACK_PACKAGE_VERSION}-1) unstable; urgency=medium

  * What is new stands in changelog.gz.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
    file(GLOB pages ${usr}/share/man/man1/*.1)
    execute_process(COMMAND gzip -9 -n -f ${pages} ${doc}/changelog ${doc}/changelog.Debian
                    COMMAND_ERROR_IS_FATAL ANY)
    # The system's own folders need not be named in the programs.
    file(GLOB programs ${usr}/bin/* ${usr}/lib/libtiltrec*.so.*.* ${usr}/lib/*/libtiltrec*.so.*.*)
    foreach(program ${programs})
        file(READ_ELF ${program} RUNPATH folders)
        if(folders MATCHES "^/usr/lib/[^:;]*$")
            file(RPATH_REMOVE FILE ${program})
        endif()
    endforeach()
    return()
endif()

set(CPACK_PACKAGE_CONTACT "TiltRec <tiltrec@localhost>"
    CACHE STRING "Name and address of who makes the package: its Maintainer field")
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_FILE})
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PACKAGE_VENDOR "The TiltRec authors")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
# Which packages of libraries are needed, the programs themselves say.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON) # and have the library found
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS mpich)
if(MPI_C_LIBRARIES MATCHES openmpi)
    set(CPACK_DEBIAN_PACKAGE_RECOMMENDS openmpi-bin)
endif()
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"TiltRec computes tomograms from single-axis tilt series of the electron
microscope by weighted backprojection, SIRT, SART, CGLS and ADMM, on the
cores of one machine or, through MPI, of many. It reads the files of IMOD,
SerialEM, AreTomo, RELION and EMAN2 (MRC, HDF5) and follows IMOD's geometry.")
include(CPack)
