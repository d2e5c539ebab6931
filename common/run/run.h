/* A run of a program: what it was given, what it reads, and the tomograms it makes. */
#ifndef TR_RUN_H
#define TR_RUN_H

#include "common/run/reconstruction.h"
#include "common/run/check_alignment.h"
#include "common/series/hand.h"
#include "common/tomogram/frc.h"

enum { TR_HALVES = 2, TR_MOST_VOLUMES = 1 + TR_HALVES };

typedef struct tr_run {
    tr_command command;
    tr_inputs inputs;
    tr_reconstruction volumes[TR_MOST_VOLUMES]; /* of everything; even and odd, if asked
                                                   for; they point to the two above */
    size_t n_volumes;                           /* 1 or 3 once the files are known */
    bool hand_checked;
    tr_hand hand;                   /* then: what --check-hand found */
    tr_alignment_verdict alignment; /* what --check-alignment found, on rank 0 */
    tr_frc frc;                     /* of the half sets, after the run, on rank 0 */
} tr_run;

/* The steps after tr_command_parse, in this order; *run is all 0 but for the command
 * and volumes[0].job.comm, and stays where it is. The first starts the device, with
 * the instruction set that all processes have, and is collective; the second opens the
 * files; the third opens the series and is collective. Each returns the first
 * error. */
TR_CHECKED tr_status tr_run_backend(tr_run *run);
TR_CHECKED tr_status tr_run_files(tr_run *run);
TR_CHECKED tr_status tr_run_series(tr_run *run, tr_comm *comm);
/* check_hand.c: with --check-hand, run->hand, and it is said. Collective; a part of the
 * third. */
TR_CHECKED tr_status tr_run_check_hand(tr_run *run, tr_comm *comm);
/* check_alignment.c: with --check-alignment, run->alignment, and it is said. Collective;
 * a part of the third. */
TR_CHECKED tr_status tr_run_check_alignment(tr_run *run, tr_comm *comm);
/* Everything, the command too. */
void tr_run_free(tr_run *run);

/* Discard the outputs that are open. Not collective. */
void tr_run_discard(tr_run *run);

#endif
