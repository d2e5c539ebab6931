/* One line per backend. Those IF_LINKED are there only in programs that are linked with
 * them. */
TR_BACKEND(tr_backend_cpu)
TR_BACKEND_IF_LINKED(tr_backend_cuda)
