/* Unfinished files when a signal ends the program. */
#include <signal.h>
#include <unistd.h>

#include "common/base/file_lock.h"
#include "common/base/stop.h"
#include "common/tomogram/output_private.h"

static struct {
    bool taken;
    const char *volatile file[TR_OUTPUT_FILES];
    tr_file_id id[TR_OUTPUT_FILES];
    tr_journal *volatile journal;
} slots[TR_MOST_OUTPUTS];

int tr_output_claim_slot(void)
{
    int k = 0;
    while (k < TR_MOST_OUTPUTS && slots[k].taken)
        k++;
    TR_ASSERT(k < TR_MOST_OUTPUTS);
    slots[k].taken = true;
    return k;
}

void tr_output_free_slot(int slot)
{
    slots[slot].journal = NULL;
    for (int i = 0; i < TR_OUTPUT_FILES; i++)
        slots[slot].file[i] = NULL;
    slots[slot].taken = false;
}

void tr_output_watch_files(int slot, const char *const file[TR_OUTPUT_FILES],
                           const tr_file_id id[TR_OUTPUT_FILES])
{
    for (int i = 0; i < TR_OUTPUT_FILES; i++) {
        slots[slot].file[i] = NULL;
        slots[slot].id[i] = id[i];
        __atomic_thread_fence(__ATOMIC_RELEASE); /* a signal handler may look */
        slots[slot].file[i] = file[i];
    }
}

void tr_output_remove(const char *file, const tr_file_id *id)
{
    if (file && (!id->known || tr_file_is(file, id)))
        unlink(file);
}

void tr_output_watch_journal(int slot, tr_journal *journal)
{
    slots[slot].journal = journal;
}

static void remove_unfinished(int signal_number)
{
    if (tr_stop_ask(signal_number))
        return;
    for (int k = 0; k < TR_MOST_OUTPUTS; k++) {
        bool kept = slots[k].journal && tr_journal_keep(slots[k].journal);
        for (int i = 0; i < TR_OUTPUT_FILES && !kept; i++)
            tr_output_remove(slots[k].file[i], &slots[k].id[i]);
    }
    tr_lock_abandon_all();
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

void tr_output_watch_signals(void)
{
    signal(SIGINT, remove_unfinished);
    signal(SIGTERM, remove_unfinished);
    signal(SIGHUP, remove_unfinished);
    /* A log that nobody reads any more is no reason to stop; a limit of file sizes is an
     * error of the write, with its sentence. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}
