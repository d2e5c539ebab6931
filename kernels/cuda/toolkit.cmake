# Finds a CUDA Toolkit that the programs for GPUs can be built with, and enables its
# language. Sets TR_WITH_CUDA, and where there is none TR_WITHOUT_CUDA to why.

include(CheckLanguage)
set(TR_LEAST_CUDA 11.8) # compute capability 9.0

# What nvcc says of itself: asked before it compiles anything, as an old one does not know
# the architectures, and that is fatal.
function(tr_ask_nvcc variable)
    execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --version
                    OUTPUT_VARIABLE said ERROR_QUIET)
    set(version 0)
    if(said MATCHES "release ([0-9]+\\.[0-9]+)")
        set(version ${CMAKE_MATCH_1})
    endif()
    set(${variable} ${version} PARENT_SCOPE)
endfunction()

# Machine code for these and the later ones of the same major number, and PTX for those to
# come.
function(tr_choose_architectures version variable)
    set(chosen 75-real 80-real 90)
    if(version VERSION_LESS 13)
        list(PREPEND chosen 70-real)
    endif()
    if(version VERSION_GREATER_EQUAL 12.8)
        list(APPEND chosen 100-real 120-real)
    endif()
    set(${variable} ${chosen} PARENT_SCOPE)
endfunction()

macro(tr_find_cuda)
    set(TR_WITH_CUDA FALSE)
    check_language(CUDA)
    if(NOT CMAKE_CUDA_COMPILER)
        set(TR_WITHOUT_CUDA "no CUDA compiler (nvcc) works here")
    else()
        tr_ask_nvcc(TR_NVCC)
        if(TR_NVCC VERSION_LESS TR_LEAST_CUDA)
            set(TR_WITHOUT_CUDA "${CMAKE_CUDA_COMPILER} is of CUDA ${TR_NVCC}, or is not nvcc")
        else()
            if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
                tr_choose_architectures(${TR_NVCC} CMAKE_CUDA_ARCHITECTURES)
            endif()
            enable_language(CUDA)
            find_package(CUDAToolkit ${TR_LEAST_CUDA} QUIET)
            if(TARGET CUDA::cudart_static AND TARGET CUDA::cufft)
                set(TR_WITH_CUDA TRUE)
            else()
                set(TR_WITHOUT_CUDA
                    "the CUDA Toolkit of ${CMAKE_CUDA_COMPILER} lacks libraries (cuFFT, cudart)")
            endif()
        endif()
    endif()
endmacro()
