/* One line per backend of this build. */
TR_BACKEND(tr_backend_cpu)
