#include "common/options/options.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"

#define AT(field) .offset = offsetof(tr_options, field)

const tr_option tr_common_options[] = {
    {.section = "Algorithm",
     .name = "algorithm",
     .letter = 'a',
     .type = TR_OPT_STRING,
     AT(algorithm),
     .metavar = "NAME",
     .fallback = "WBP",
     .help = "Reconstruction algorithm; what each has of its own stands below",
     .brief = "Reconstruction algorithm; WBP unless given"},

    {.section = "Files",
     .name = "input",
     .aside = true,
     .type = TR_OPT_STRING,
     AT(input),
     .metavar = "FILE",
     .help = "Aligned tilt series, the same as naming it without an option"},
    {.name = "output",
     .aside = true,
     .letter = 'o',
     .type = TR_OPT_STRING,
     AT(output),
     .metavar = "FILE",
     .help = "Tomogram to write; unless given, the series' name with _rec.mrc in the "
             "current folder",
     .brief = "Tomogram to write; unless given, SERIES_rec.mrc"},
    {.name = "tilts",
     .aside = true,
     .letter = 't',
     .type = TR_OPT_STRING,
     AT(tilts),
     .metavar = "FILE",
     .help = "Tilt angles in degrees (.tlt, .rawtlt, .mdoc), or an alignment with the "
             "views that it leaves out (AreTomo's .aln, RELION's .star); unless given, "
             "the file beside the series that has its name",
     .brief = "Tilt angles; unless given, the file beside SERIES"},
    {.name = "xtilts",
     .aside = true,
     .type = TR_OPT_STRING,
     AT(xtilts),
     .metavar = "FILE",
     .help = "Tilt about the x axis of each view in degrees (IMOD's .xtilt), subtracted "
             "from the pitch"},
    {.name = "transforms",
     .aside = true,
     .type = TR_OPT_STRING,
     AT(transforms),
     .metavar = "FILE",
     .help = "Alignment (.xf, .aln, .star) to apply to the views while reading a series "
             "that is not aligned yet"},
    {.name = "initial",
     .aside = true,
     .type = TR_OPT_STRING,
     AT(initial),
     .metavar = "FILE",
     .help = "Tomogram from which an iterative algorithm starts, instead of zero"},
    {.name = "outside",
     .type = TR_OPT_CHOICE,
     AT(outside),
     .metavar = "WHAT",
     .fallback = "auto",
     .choices = "auto continue zero",
     .help = "What iterative algorithms take to be outside the field of view: the "
             "specimen goes on (densities that are found as well, and not written), or "
             "nothing; auto decides from how strong the views' edges are"},
    {.name = "imod-com",
     .aside = true,
     .type = TR_OPT_STRING,
     AT(imod_com),
     .metavar = "FILE",
     .help = "Take files and geometry from this IMOD tilt.com; options given here win "
             "over it",
     .brief = "Take files and geometry from IMOD's tilt.com"},

    {.name = "half-sets",
     .aside = true,
     .type = TR_OPT_WORDS,
     AT(half_sets),
     .metavar = "HOW",
     .choices = "views frames EVEN ODD",
     .help = "Make two more tomograms, OUTPUT_EVN and OUTPUT_ODD, with the same "
             "parameters, and their Fourier ring correlation: of every second view each, "
             "or of two series made from the even and the odd frames",
     .brief = "Even and odd tomograms beside it, and their FRC"},

    {.section = "The result",
     .name = "report",
     .aside = true,
     .type = TR_OPT_STRING,
     AT(report),
     .metavar = "FILE",
     .help = "Write a page for a web browser (HTML) with the tomogram's sections, "
             "convergence, the views one by one, geometry, settings and times",
     .brief = "A page for the browser: sections, views, geometry"},
    {.name = "json",
     .aside = true,
     .type = TR_OPT_STRING,
     AT(json),
     .metavar = "FILE",
     .help = "Write the result for other programs to read (JSON): inputs with checksums, "
             "settings, geometry, residuals, statistics, times"},
    {.name = "preview",
     .aside = true,
     .type = TR_OPT_FLAG,
     AT(preview),
     .help = "Write the three central sections as pictures beside the tomogram: "
             "its name with _xy.png, _xz.png and _yz.png"},

    {.section = "Geometry",
     .name = "thickness",
     .letter = 'T',
     .type = TR_OPT_INT,
     AT(thickness),
     .metavar = "PIXELS",
     .min = 1,
     .max = 65536,
     .help = "Thickness of the tomogram along the beam, in unbinned pixels; unless "
             "given, what the alignment says (.aln, tomograms.star), or a quarter of the "
             "images' width",
     .brief = "Thickness of the tomogram, in unbinned pixels"},
    {.name = "width",
     .letter = 'w',
     .type = TR_OPT_INT,
     AT(width),
     .metavar = "PIXELS",
     .min = 1,
     .max = 65536,
     .help = "Width of the tomogram across the tilt axis, in unbinned pixels; unless "
             "given, that of the views"},
    {.name = "tilt-offset",
     .type = TR_OPT_REAL,
     AT(tilt_offset),
     .metavar = "DEGREES",
     .fallback = "0",
     .min = -180,
     .max = 180,
     .help = "Added to every tilt angle",
     .brief = "Added to every tilt angle"},
    {.name = "axis-shift",
     .type = TR_OPT_REAL,
     AT(axis_shift),
     .metavar = "PIXELS",
     .fallback = "0",
     .min = -65536,
     .max = 65536,
     .help = "Shift of the tilt axis from the middle of the views, in unbinned pixels "
             "along x (the second number of IMOD's OFFSET)",
     .brief = "Shift of the tilt axis from the images' middle"},
    {.name = "pitch",
     .type = TR_OPT_REAL,
     AT(pitch),
     .metavar = "DEGREES",
     .fallback = "0",
     .min = -60,
     .max = 60,
     .help = "Tilt of the specimen about the x axis (IMOD's XAXISTILT)",
     .brief = "Tilt of the specimen about the x axis"},
    {.name = "x-shift",
     .type = TR_OPT_REAL,
     AT(x_shift),
     .metavar = "PIXELS",
     .fallback = "0",
     .min = -65536,
     .max = 65536,
     .help = "Move the specimen to the right in the tomogram by so many unbinned pixels"},
    {.name = "z-shift",
     .type = TR_OPT_REAL,
     AT(z_shift),
     .metavar = "PIXELS",
     .fallback = "0",
     .min = -65536,
     .max = 65536,
     .help =
         "Move the specimen up in the tomogram's thickness by so many unbinned pixels"},
    {.name = "exclude",
     .type = TR_OPT_LIST,
     AT(exclude),
     .metavar = "LIST",
     .help = "Views to leave out, numbered from 1, such as 1-4,7,40-41",
     .brief = "Views to leave out, such as 1-4,7,40-41"},
    {.name = "include",
     .type = TR_OPT_LIST,
     AT(include),
     .metavar = "LIST",
     .help = "Views to use, numbered from 1; all others are left out"},
    {.name = "slices",
     .type = TR_OPT_RANGE,
     AT(slices),
     .metavar = "A:B",
     .min = 0,
     .max = 2147483647,
     .help = "First and last slice along the tilt axis to reconstruct, both included, "
             "numbered from 0; unless given, all"},
    {.name = "bin",
     .type = TR_OPT_INT,
     AT(bin),
     .metavar = "N",
     .fallback = "1",
     .min = 1,
     .max = 32,
     .help = "Make the views N times smaller by Fourier cropping, and so the tomogram",
     .brief = "Make views and tomogram N times smaller"},

    {.section = "Data",
     .name = "log",
     .type = TR_OPT_REAL,
     AT(log_base),
     .metavar = "BASE",
     .help = "Take -log(value + BASE) of the views first, for bright-field or X-ray "
             "transmission"},
    {.name = "invert",
     .type = TR_OPT_FLAG,
     AT(invert),
     .help = "Invert the contrast of the tomogram"},
    {.name = "scale",
     .type = TR_OPT_PAIR,
     AT(scale),
     .metavar = "ADD,MUL",
     .fallback = "0,1",
     .help = "Write (value + ADD) * MUL"},
    {.name = "mode",
     .type = TR_OPT_CHOICE,
     AT(mode),
     .metavar = "TYPE",
     .fallback = "float",
     .choices = "float half int16 uint16 byte",
     .help = "Number type of the tomogram; the integers are scaled from the statistics "
             "of the whole volume, and the scaling is printed"},
    {.name = "order",
     .type = TR_OPT_CHOICE,
     AT(order),
     .metavar = "AXES",
     .fallback = "xzy",
     .choices = "xzy xyz",
     .help = "Columns, rows and sections of the tomogram: xzy as IMOD's tilt writes, or "
             "xyz, rotated about x, which keeps the hand"},
    {.name = "deflate",
     .type = TR_OPT_INT,
     AT(deflate),
     .metavar = "LEVEL",
     .fallback = "0",
     .min = 0,
     .max = 9,
     .help = "Compress an HDF5 tomogram; 0 is not at all, 9 the smallest file"},

    {.section = "The run",
     .name = "threads",
     .aside = true,
     .type = TR_OPT_INT,
     AT(threads),
     .metavar = "N",
     .min = 1,
     .max = 4096,
     .help = "Threads of each process; unless given, the cores of the machine shared "
             "evenly by the processes on it"},
    {.name = "memory",
     .aside = true,
     .type = TR_OPT_BYTES,
     AT(memory),
     .metavar = "SIZE",
     .min = 1048576,
     .max = 1125899906842624,
     .help = "Memory that each process may use, such as 512M or 4G; unless given, half "
             "of the machine's, shared evenly by the processes on it"},
    {.name = "checkpoint",
     .aside = true,
     .type = TR_OPT_REAL,
     AT(checkpoint),
     .metavar = "MINUTES",
     .fallback = "10",
     .min = 0,
     .max = 100000,
     .help = "How often what is done so far is kept for --resume; also when the run is "
             "stopped by SIGTERM, SIGINT or SIGHUP after a minute or more; 0 never"},
    {.name = "resume",
     .aside = true,
     .type = TR_OPT_FLAG,
     AT(resume),
     .help = "Go on from what an interrupted run of the same data and options kept",
     .brief = "Go on from where the same run was interrupted"},
    {.name = "verify",
     .aside = true,
     .type = TR_OPT_FLAG,
     AT(verify),
     .help = "Before the tomogram gets its name, read it back from the disk and compare "
             "it with checksums that were taken while it was written"},
    {.name = "timeline",
     .aside = true,
     .type = TR_OPT_STRING,
     AT(timeline),
     .metavar = "FILE",
     .help = "Write when each stage worked, for chrome://tracing or Perfetto (JSON)"},
    {.name = "try",
     .aside = true,
     .type = TR_OPT_WISH,
     AT(try_what),
     .metavar = "[SWEEP]",
     .choices = "lambda samples",
     .brief = "Thin slabs instead, to find the geometry with",
     .help =
         "Instead of a tomogram, reconstruct three thin slabs (bottom, middle and top "
         "along the tilt axis) and write a contact sheet of them (PNG). With SWEEP, "
         "PARAMETER=FROM:TO:STEP, do so for each value, and suggest the best; the "
         "parameters are tilt-offset, axis-shift, pitch, thickness and z-shift. With "
         "lambda, or lambda=FROM:TO:FACTOR, for ADMM at these multiples of the weight "
         "that it would have, to choose one by eye"},
    {.name = "dry-run",
     .aside = true,
     .type = TR_OPT_FLAG,
     AT(dry_run),
     .help = "Print what would be done and the memory it takes, and stop",
     .brief = "Print what would be done, and stop"},
    {.name = "quiet",
     .aside = true,
     .letter = 'q',
     .type = TR_OPT_FLAG,
     AT(quiet),
     .help = "Print warnings and errors only"},
    {.name = "verbose",
     .aside = true,
     .letter = 'v',
     .type = TR_OPT_FLAG,
     AT(verbose),
     .help = "Print more of what is done"},
    {.name = "version",
     .aside = true,
     .type = TR_OPT_FLAG,
     AT(version),
     .help = "Print the version and stop"},
    {.name = "help",
     .aside = true,
     .letter = 'h',
     .type = TR_OPT_FLAG,
     AT(help),
     .metavar = "[TOPIC]",
     .help = "Print the options used most and stop; all of them with the topic all; or "
             "explain the topic: an option, an algorithm, or a group of options"},
    {.name = "man", .aside = true, .type = TR_OPT_FLAG, AT(man)},
    {.name = "markdown", .aside = true, .type = TR_OPT_FLAG, AT(markdown)},
    {.name = "completion",
     .aside = true,
     .type = TR_OPT_CHOICE,
     AT(completion),
     .fallback = "none",
     .choices = "none bash zsh fish"},
};
const size_t tr_n_common_options = sizeof tr_common_options / sizeof *tr_common_options;

const tr_option tr_device_option_rows[] = {
    {.section = "The GPU",
     .name = "device",
     .aside = true,
     .type = TR_OPT_STRING,
     .offset = offsetof(tr_device_options, devices),
     .metavar = "LIST",
     .help = "Numbers of the GPUs to use, such as 0,2 or 1-3; unless given, all. The "
             "processes on a machine share them out",
     .brief = "Numbers of the GPUs to use, such as 0,2 or 1-3"},
    {.name = "kernel",
     .type = TR_OPT_CHOICE,
     .offset = offsetof(tr_device_options, kernel),
     .metavar = "NAME",
     .fallback = "auto",
     .choices = "auto texture tile",
     .help = "How to backproject: with the texture hardware, whose interpolation has 8 "
             "bits, or with tiles in shared memory, in single precision; auto takes the "
             "faster on the GPU at hand"},
};
const size_t tr_n_device_options =
    sizeof tr_device_option_rows / sizeof *tr_device_option_rows;

/* ---- upstream's composite options ---- */

/* The new argument vector while it is written; `argv` has room enough. */
typedef struct rewriter {
    int argc;
    char **argv;
} rewriter;

static tr_status push(rewriter *r, const char *text)
{
    r->argv[r->argc] = tr_strdup(text);
    return r->argv[r->argc++] ? TR_OK : TR_ERR_MEMORY;
}

/* Split the value at its commas and push each field behind its option's name. False when
 * a field is empty or there are more fields than names. */
static bool push_fields(rewriter *r, const char *value, const char *const *names,
                        size_t n_names, size_t *n_fields, tr_status *status)
{
    for (size_t n = 0; n < n_names; n++) {
        size_t length = strcspn(value, ",");
        if (length == 0)
            return false;
        char *field = strndup(value, length);
        *status = field ? push(r, names[n]) : TR_ERR_MEMORY;
        if (*status == TR_OK)
            *status = push(r, field);
        free(field);
        *n_fields = n + 1;
        if (*status != TR_OK || value[length] == '\0')
            return true;
        value += length + 1;
    }
    return false;
}

static tr_status rewrite_method(rewriter *r, const char *value)
{
    static const char *const plain[] = {"-a", "-i", "-r"};
    static const char *const admm[] = {"-a", "-i", "--cg", "-r", "--lambda"};
    bool is_admm = strncasecmp(value, "ADMM", 4) == 0 && (!value[4] || value[4] == ',');
    size_t n = 0;
    tr_status status = TR_OK;
    if (!push_fields(r, value, is_admm ? admm : plain, is_admm ? 5 : 3, &n, &status))
        return tr_fail(TR_ERR_USAGE, "--method %s: must be %s", *value ? value : "''",
                       is_admm ? "ADMM,ITERATIONS,CG-ITERATIONS,RELAXATION,SOFT-THRESHOLD"
                               : "NAME, NAME,ITERATIONS or NAME,ITERATIONS,RELAXATION");
    return status;
}

static tr_status rewrite_geometry(rewriter *r, const char *value)
{
    static const char *const names[] = {"--tilt-offset", "--pitch", "--z-shift",
                                        "--thickness"};
    size_t n = 0;
    double number;
    tr_status status = TR_OK;
    int first = r->argc;
    bool good = push_fields(r, value, names, 4, &n, &status) && n == 4;
    for (int i = first + 1; good && status == TR_OK && i < r->argc; i += 2)
        good = tr_parse_real(r->argv[i], strlen(r->argv[i]), &number);
    if (status == TR_OK && !good)
        return tr_fail(
            TR_ERR_USAGE,
            "--geometry %s: must be four numbers OFFSET,PITCH,ZSHIFT,THICKNESS "
            "(degrees, degrees, pixels, pixels)",
            *value ? value : "''");
    return status;
}

static tr_status rewrite_tiltfile(rewriter *r, const char *value)
{
    TR_TRY(push(r, "--tilts"));
    return push(r, value);
}

/* For upstream's users -i is the input file: say so where its value is no number. */
static tr_status check_iterations(const char *argument, const char *next)
{
    double number;
    if (strncmp(argument, "-i", 2) != 0)
        return TR_OK;
    /* Without a point it is rather a long name with one dash, as the parser will say. */
    if (argument[2] && !strchr(argument, '.'))
        return TR_OK;
    const char *value = argument[2] ? argument + 2 : next;
    if (!value || value[0] == '-' || tr_parse_real(value, strlen(value), &number))
        return TR_OK;
    return tr_fail(TR_ERR_USAGE,
                   "-i %s: -i is the number of iterations here; to name the series use "
                   "--input %s",
                   value, value);
}

/* Whether the argument is --name or --name=value; *value is then the text behind '=' or
 * NULL. */
static bool is_long(const char *argument, const char *name, const char **value)
{
    size_t length = strlen(name);
    if (strncmp(argument, name, length) != 0 ||
        (argument[length] != '\0' && argument[length] != '='))
        return false;
    *value = argument[length] ? argument + length + 1 : NULL;
    return true;
}

/* Rewrite argv[*i] and, if its value is there, argv[*i + 1]. */
static tr_status rewrite_one(rewriter *r, char *const *argv, int argc, int *i)
{
    static const struct {
        const char *name, *example;
        tr_status (*rewrite)(rewriter *, const char *);
    } composites[] = {
        {"--method", "SIRT,30,0.2", rewrite_method},
        {"--geometry", "0,0,0,300", rewrite_geometry},
        {"--tiltfile", "FILE", rewrite_tiltfile},
    };
    const char *argument = argv[*i], *value;
    const char *next = *i + 1 < argc ? argv[*i + 1] : NULL;
    for (size_t c = 0; c < sizeof composites / sizeof *composites; c++) {
        if (!is_long(argument, composites[c].name, &value))
            continue;
        if (!value) {
            if (!next)
                return tr_fail(TR_ERR_USAGE, "%s needs a value: %s %s", argument,
                               argument, composites[c].example);
            value = next;
            ++*i;
        }
        return composites[c].rewrite(r, value);
    }
    if (strcmp(argument, "--f2b") == 0) {
        TR_TRY(push(r, "--mode"));
        return push(r, "byte");
    }
    TR_TRY(check_iterations(argument, next));
    return push(r, argument);
}

tr_status tr_arguments_rewrite(int argc, char *const *argv, int *new_argc,
                               char ***new_argv)
{
    rewriter r = {.argc = 0};
    bool options_ended = false;
    tr_status status = TR_OK;
    *new_argc = 0;
    *new_argv = NULL;
    /* One argument becomes ten at most: --method=ADMM,... */
    r.argv = tr_calloc("the command line", 10 * (size_t)argc + 1, sizeof *r.argv);
    if (!r.argv)
        return TR_ERR_MEMORY;
    for (int i = 0; i < argc && status == TR_OK; i++) {
        if (strcmp(argv[i], "--") == 0)
            options_ended = true;
        status =
            options_ended || i == 0 ? push(&r, argv[i]) : rewrite_one(&r, argv, argc, &i);
    }
    if (status != TR_OK) {
        tr_arguments_free(r.argv);
        return status;
    }
    *new_argc = r.argc;
    *new_argv = r.argv;
    return TR_OK;
}

void tr_arguments_free(char **argv)
{
    for (char **a = argv; a && *a; a++)
        free(*a);
    free(argv);
}

/* "-axis-shift": a long name with one dash, not "-a xis-shift". */
static bool is_long_with_one_dash(const char *argument)
{
    const char *value;
    for (size_t i = 0; i < tr_n_common_options; i++)
        if (is_long(argument + 1, tr_common_options[i].name, &value))
            return true;
    return false;
}

const char *tr_arguments_algorithm(int argc, char *const *argv)
{
    const char *algorithm = NULL, *value;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (is_long(argv[i], "--algorithm", &value) && value)
            algorithm = value;
        else if (strcmp(argv[i], "-a") == 0 || strcmp(argv[i], "--algorithm") == 0)
            /* An option instead of a value is left for the parser to refuse. */
            algorithm = i + 1 < argc && argv[i + 1][0] != '-' ? argv[++i] : algorithm;
        else if (strncmp(argv[i], "-a", 2) == 0 && !is_long_with_one_dash(argv[i]))
            algorithm = argv[i] + 2;
    }
    return algorithm;
}

bool tr_help_asked(int argc, char *const *argv, const char **topic)
{
    *topic = NULL;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strncmp(argv[i], "--help=", 7) == 0) {
            *topic = argv[i] + 7;
            return true;
        }
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            *topic = i + 1 < argc ? argv[i + 1] : NULL;
            return true;
        }
    }
    return false;
}
