/* Being asked to stop: by a signal, or by a batch system's clock. */
#ifndef TR_STOP_H
#define TR_STOP_H

#include <stdbool.h>

/* From now on the first SIGTERM, SIGINT or SIGHUP only asks; or, with false, each ends
 * the program again. */
void tr_stop_only_asks(bool asks);

/* In a signal handler: whether the signal is taken care of by asking. */
bool tr_stop_ask(int signal_number);

/* Why to stop as soon as possible ("signal 15", "the end of the batch job's time"); NULL:
 * go on. Slurm tells when a job's time ends; two minutes before it is time to stop. */
const char *tr_stop_reason(void);

#endif
