/* MPI for one process: what the programs call of MPICH's libmpich.so.12 and nothing else,
 * so that tests/gpu/bundle needs no MPI on the machine that it goes to. Built with
 * MPICH's header, whose handles are numbers. */
#include <errno.h>
#include <fcntl.h>
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static __thread int last_count; /* of this thread's latest MPI_File_read_at or write_at */

static size_t size_of(MPI_Datatype type)
{
    return type == MPI_DOUBLE                     ? sizeof(double)
           : type == MPI_FLOAT || type == MPI_INT ? sizeof(float)
                                                  : 1;
}

/* ---- starting and ending ---- */

int MPI_Init_thread(int *argc, char ***argv, int wanted, int *provided)
{
    (void)argc, (void)argv;
    *provided = wanted;
    return MPI_SUCCESS;
}

int MPI_Finalize(void) { return MPI_SUCCESS; }

int MPI_Abort(MPI_Comm comm, int status)
{
    (void)comm;
    _exit(status);
}

int MPI_Get_library_version(char *text, int *length)
{
    *length = snprintf(text, MPI_MAX_LIBRARY_VERSION_STRING, "no MPI, for one process");
    return MPI_SUCCESS;
}

int MPI_Error_string(int code, char *text, int *length)
{
    *length = snprintf(text, MPI_MAX_ERROR_STRING, "%s", strerror(code));
    return MPI_SUCCESS;
}

/* ---- communicators ---- */

int MPI_Comm_set_errhandler(MPI_Comm comm, MPI_Errhandler handler)
{
    (void)comm, (void)handler;
    return MPI_SUCCESS;
}

int MPI_Comm_split_type(MPI_Comm comm, int type, int key, MPI_Info info, MPI_Comm *made)
{
    (void)type, (void)key, (void)info;
    *made = comm;
    return MPI_SUCCESS;
}

int MPI_Comm_rank(MPI_Comm comm, int *rank)
{
    (void)comm;
    *rank = 0;
    return MPI_SUCCESS;
}

int MPI_Comm_size(MPI_Comm comm, int *size)
{
    (void)comm;
    *size = 1;
    return MPI_SUCCESS;
}

int MPI_Comm_free(MPI_Comm *comm)
{
    *comm = MPI_COMM_NULL;
    return MPI_SUCCESS;
}

/* ---- messages ---- */

int MPI_Bcast(void *data, int n, MPI_Datatype type, int root, MPI_Comm comm)
{
    (void)data, (void)n, (void)type, (void)root, (void)comm;
    return MPI_SUCCESS;
}

int MPI_Allreduce(const void *from, void *to, int n, MPI_Datatype type, MPI_Op operation,
                  MPI_Comm comm)
{
    (void)operation, (void)comm;
    if (from != MPI_IN_PLACE)
        memcpy(to, from, (size_t)n * size_of(type));
    return MPI_SUCCESS;
}

int MPI_Alltoallv(const void *from, const int from_n[], const int from_at[],
                  MPI_Datatype type, void *to, const int to_n[], const int to_at[],
                  MPI_Datatype to_type, MPI_Comm comm)
{
    (void)to_n, (void)to_type, (void)comm;
    size_t size = size_of(type);
    memcpy((char *)to + (size_t)to_at[0] * size,
           (const char *)from + (size_t)from_at[0] * size, (size_t)from_n[0] * size);
    return MPI_SUCCESS;
}

/* ---- messages to other processes, of which there are none ---- */

int MPI_Irecv(void *data, int n, MPI_Datatype type, int rank, int tag, MPI_Comm comm,
              MPI_Request *request)
{
    (void)data, (void)n, (void)type, (void)rank, (void)tag, (void)comm, (void)request;
    return ENOTSUP;
}

int MPI_Isend(const void *data, int n, MPI_Datatype type, int rank, int tag,
              MPI_Comm comm, MPI_Request *request)
{
    (void)data, (void)n, (void)type, (void)rank, (void)tag, (void)comm, (void)request;
    return ENOTSUP;
}

int MPI_Wait(MPI_Request *request, MPI_Status *status)
{
    (void)request, (void)status;
    return ENOTSUP;
}

/* ---- files: a handle is the descriptor + 1, as 0 is MPI_FILE_NULL ---- */

static int descriptor(MPI_File file) { return (int)(intptr_t)file - 1; }

int MPI_File_open(MPI_Comm comm, const char *path, int mode, MPI_Info info,
                  MPI_File *file)
{
    (void)comm, (void)mode, (void)info;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno;
    *file = (MPI_File)((intptr_t)fd + 1);
    return MPI_SUCCESS;
}

int MPI_File_close(MPI_File *file)
{
    int fd = descriptor(*file);
    *file = MPI_FILE_NULL;
    return close(fd) == 0 ? MPI_SUCCESS : errno;
}

static int done(ssize_t bytes)
{
    last_count = bytes < 0 ? 0 : (int)bytes;
    return bytes < 0 ? errno : MPI_SUCCESS;
}

int MPI_File_read_at(MPI_File file, MPI_Offset at, void *data, int n, MPI_Datatype type,
                     MPI_Status *status)
{
    (void)type, (void)status;
    return done(pread(descriptor(file), data, (size_t)n, at));
}

int MPI_File_write_at(MPI_File file, MPI_Offset at, const void *data, int n,
                      MPI_Datatype type, MPI_Status *status)
{
    (void)type, (void)status;
    return done(pwrite(descriptor(file), data, (size_t)n, at));
}

int MPI_Get_count(const MPI_Status *status, MPI_Datatype type, int *n)
{
    (void)status, (void)type;
    *n = last_count;
    return MPI_SUCCESS;
}
