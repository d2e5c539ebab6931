/* Parsing a command again without the algorithms, of which nothing is run here; samples
 * are converted by the plainest instructions. */
#include "common/run/command.h"
#include "kernels/samples.h"

const tr_samples *tr_samples_best(void) { return &tr_samples_baseline; }

tr_status tr_command_parse_again(tr_command *c, int n, char *const *argv)
{
    tr_command_line_free(&c->line);
    return tr_options_parse(c->groups, c->n_groups, "SERIES", n, argv, &c->line);
}

tr_status tr_command_set_algorithm(tr_command *c, const char *name)
{
    (void)c;
    return tr_fail(TR_ERR_USAGE, "there is no algorithm %s", name);
}
