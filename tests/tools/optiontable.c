/* Print the option tables, a row a line, for tests that compare with them what is written
 * for people:
 *   group TAB name TAB letter TAB metavar TAB default TAB min TAB max TAB choices TAB
 * help group is "" for the options of all algorithms, "device", or an algorithm's name;
 * what is not there is "", so is the help of a hidden row. */
#include <stdio.h>

#include "common/algorithms/algorithm.h"
#include "common/options/options.h"

static const char *text(const char *may_be_null)
{
    return may_be_null ? may_be_null : "";
}

static void show(const char *group, const tr_option *rows, size_t n)
{
    for (size_t r = 0; r < n; r++)
        printf("%s\t%s\t%.1s\t%s\t%s\t%.17g\t%.17g\t%s\t%s\n", group, rows[r].name,
               &rows[r].letter, text(rows[r].metavar), text(rows[r].fallback),
               rows[r].min, rows[r].max, text(rows[r].choices), text(rows[r].help));
}

int main(void)
{
    const tr_algorithm *a;
    show("", tr_common_options, tr_n_common_options);
    show("device", tr_device_option_rows, tr_n_device_options);
    for (size_t k = 0; (a = tr_algorithm_at(k)); k++)
        show(a->name, a->options, a->n_options);
    return 0;
}
