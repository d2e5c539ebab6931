/* --write-alignment: where the views were taken and how they are aligned, as the CryoET
 * Data Portal has it in alignment_metadata.json. */
#ifndef TR_ALIGNMENT_JSON_H
#define TR_ALIGNMENT_JSON_H

#include "common/run/run.h"

/* Before the run, where the option is given: TR_ERR_USAGE or TR_ERR_DATA for what that
 * file cannot say. */
TR_CHECKED tr_status tr_alignment_json_check(const tr_run *run);
/* Writes it. Per view used: its section, from 0; its angle, as used; the rotation about x
 * in the sign of IMOD's XTILTFILE, the pitch included; and what takes a point of the
 * aligned image to the raw one, from the centres (n - 1)/2, a matrix and angstroms.
 * (Field names and meaning: cryoet-data-portal-backend, schema/core; cryoet-alignment.)
 */
TR_CHECKED tr_status tr_alignment_json_write(const tr_run *run);

#endif
