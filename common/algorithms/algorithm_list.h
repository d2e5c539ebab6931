/* One line per algorithm, in the order of the help. */
TR_ALGORITHM(tr_algorithm_bpt)
TR_ALGORITHM(tr_algorithm_wbp)
TR_ALGORITHM(tr_algorithm_fbp)
TR_ALGORITHM(tr_algorithm_sirt)
TR_ALGORITHM(tr_algorithm_sart)
TR_ALGORITHM(tr_algorithm_cgls)
TR_ALGORITHM(tr_algorithm_admm)
TR_ALGORITHM(tr_algorithm_wiener)
