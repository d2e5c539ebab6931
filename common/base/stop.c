#include "common/base/stop.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static volatile sig_atomic_t only_asks, asked;

void tr_stop_only_asks(bool asks) { only_asks = asks; }

bool tr_stop_ask(int signal_number)
{
    if (!only_asks || asked)
        return false;
    asked = signal_number;
    return true;
}

const char *tr_stop_reason(void)
{
    enum { SECONDS_NEEDED = 120 };
    static char text[32];
    if (asked) {
        snprintf(text, sizeof text, "signal %d", (int)asked);
        return text;
    }
    const char *end = getenv("SLURM_JOB_END_TIME"); /* seconds since 1970 */
    long long at = end ? atoll(end) : 0;
    if (at > 0 && (long long)time(NULL) > at - SECONDS_NEEDED)
        return "the end of the batch job's time";
    return NULL;
}
