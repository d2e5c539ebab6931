/* One line per step, in the order of work. */
TR_VIEW_STEP(tr_step_hot_pixels)
TR_VIEW_STEP(tr_step_repair)
TR_VIEW_STEP(tr_step_logarithm)
TR_VIEW_STEP(tr_step_normalization)
TR_VIEW_STEP(tr_step_inversion)
TR_VIEW_STEP(tr_step_fourier_crop)
TR_VIEW_STEP(tr_step_transform)
