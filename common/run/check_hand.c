/* --check-hand: what the views say of --defocus-hand, as a table and in run->hand. */
#include "common/base/log.h"
#include "common/run/run.h"

static void print(const tr_run *run)
{
    const tr_hand *h = &run->hand;
    double taken = run->command.options.views.hand;
    tr_info("hand of the defocus: %zu tiles of %zu pixels of %zu views tilted by 20 "
            "degrees or more",
            h->n_tiles, h->tile, h->n_views);
    tr_info("%8s%22s%24s", "hand", "fit of the CTF", "agreement of rings");
    for (int k = 0; k < TR_HANDS; k++)
        tr_info("%8s%22.4f%24.6f", k == TR_HAND_IS_PLUS ? "+1" : "-1", h->model[k],
                h->stretched[k]);
    if (!h->verdict)
        tr_info("hand of the defocus: undetermined; it needs fits that differ by more "
                "than 0.03, and rings that agree; %+g is kept",
                taken);
    else if (h->verdict * taken > 0.0)
        tr_info("hand of the defocus: the views speak for --defocus-hand %+d, which is "
                "taken",
                h->verdict);
    else
        tr_warn("the views speak for --defocus-hand %+d, and %+g is taken", h->verdict,
                taken);
}

tr_status tr_run_check_hand(tr_run *run, tr_comm *comm)
{
    const tr_options *o = &run->command.options;
    const tr_job *job = &run->volumes[0].job;
    double subset[2];
    if (!o->check_hand || !o->views.ctf)
        return TR_OK;
    tr_inputs_subset_shift(&run->inputs, subset);
    TR_TRY(tr_hand_check(comm, job->series, &job->geometry, o->axis_shift + subset[0],
                         job->threads, &run->hand));
    run->hand_checked = true;
    print(run);
    return TR_OK;
}
