/* FFTW's planner is not thread-safe: whoever makes or destroys a plan holds this lock. */
#ifndef TR_FFTW_PLANNER_H
#define TR_FFTW_PLANNER_H

void tr_fftw_planner_lock(void);
void tr_fftw_planner_unlock(void);

#endif
