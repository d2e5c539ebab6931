#include "log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* One state for the process; the mutex keeps lines of several threads apart. */
static struct {
    pthread_mutex_t mutex;
    tr_log_level level;
    bool speaks, on_terminal;
    char program[64];
    /* the stage whose progress was reported last */
    char stage[64];
    double done, printed_at; /* seconds */
    int tenths;
    bool line_is_open; /* a progress line stands on the terminal, without newline */
} state = {.mutex = PTHREAD_MUTEX_INITIALIZER,
           .level = TR_LOG_NORMAL,
           .speaks = true,
           .program = "tiltrec"};

void tr_log_setup(tr_log_level level, bool speaks, const char *program)
{
    const char *terminal = getenv("TERM");
    pthread_mutex_lock(&state.mutex);
    state.level = level;
    state.speaks = speaks;
    state.on_terminal =
        isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
    snprintf(state.program, sizeof state.program, "%s", program);
    pthread_mutex_unlock(&state.mutex);
}

/* Take the progress line, if any, off the terminal. */
static void clear_line(void)
{
    if (state.line_is_open)
        fputs("\r\033[K", stderr);
    state.line_is_open = false;
}

/* Names and what other programs wrote may hold control characters, which would command
 * the terminal: print them as "\x1b". 0xc2 begins those beyond ASCII in UTF-8. */
static void print_safely(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
            fprintf(stderr, "\\xc2\\x%02x", *++c);
        else if (*c < ' ' || *c == 127)
            fprintf(stderr, "\\x%02x", *c);
        else
            fputc(*c, stderr);
    }
}

/* "PROGRAM: KIND: text", or the text alone when kind is NULL. */
static void print_line(const char *kind, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void print_line(const char *kind, const char *format, va_list arguments)
{
    pthread_mutex_lock(&state.mutex);
    clear_line();
    if (kind)
        fprintf(stderr, "%s: %s: ", state.program, kind);
    /* An error's sentence fits without memory that may just have run out. */
    char shorter[1200], *text = shorter;
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(shorter, sizeof shorter, format, arguments);
    if (length >= (int)sizeof shorter && vasprintf(&text, format, again) < 0)
        text = shorter;
    va_end(again);
    print_safely(text);
    if (text != shorter)
        free(text);
    fputc('\n', stderr);
    fflush(stderr);
    pthread_mutex_unlock(&state.mutex);
}

void tr_info(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (state.speaks && state.level >= TR_LOG_NORMAL)
        print_line(NULL, format, arguments);
    va_end(arguments);
}

void tr_verbose(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (state.speaks && state.level >= TR_LOG_VERBOSE)
        print_line(NULL, format, arguments);
    va_end(arguments);
}

void tr_warn(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (state.speaks)
        print_line("warning", format, arguments);
    va_end(arguments);
}

static void print_error(const char *format, ...) TR_PRINTF(1, 2);

static void print_error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line("error", format, arguments);
    va_end(arguments);
}

void tr_log_error(const char *sentence) { print_error("%s", sentence); }

/* ---- progress ---- */

/* ", 9.8 G updates/s", or "" when nothing was updated. */
static void rate_text(double updates, double seconds, char *text, size_t size)
{
    static const char *const prefixes[] = {"", "k ", "M ", "G ", "T ", "P "};
    size_t p = 0;
    *text = '\0';
    if (updates <= 0 || seconds <= 0)
        return;
    double rate = updates / seconds;
    for (; rate >= 999.5 && p + 1 < sizeof prefixes / sizeof *prefixes; p++)
        rate /= 1000;
    snprintf(text, size, ", %.*f %supdates/s", rate < 9.95 ? 1 : 0, rate, prefixes[p]);
}

/* "7 s", "2 min 5 s", "3 h 20 min". */
static void time_text(double seconds, char *text, size_t size)
{
    double whole = seconds < 1e9 ? seconds + 0.5 : 1e9;
    long s = (long)whole;
    if (s < 60)
        snprintf(text, size, "%ld s", s);
    else if (s < 3600)
        snprintf(text, size, "%ld min %ld s", s / 60, s % 60);
    else
        snprintf(text, size, "%ld h %ld min", s / 3600, s / 60 % 60);
}

static int terminal_columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 10)
        return size.ws_col;
    return 80;
}

/* Whether this report is due: on a terminal ten a second, elsewhere one per tenth. */
static bool is_due(double fraction, double seconds)
{
    int tenths = (int)(10 * fraction + 1e-9);
    bool ends = tenths >= 10 && state.tenths < 10;
    bool due = state.on_terminal
                   ? ends || (tenths < 10 && seconds - state.printed_at >= 0.1)
                   : tenths > state.tenths;
    state.tenths = tenths;
    if (due)
        state.printed_at = seconds;
    return due;
}

static void print_progress(const char *stage, double fraction, double updates,
                           double seconds)
{
    char rate[48], duration[32], line[256];
    bool ended = fraction >= 1;
    rate_text(updates, seconds, rate, sizeof rate);
    time_text(ended ? seconds : seconds * (1 - fraction) / fraction, duration,
              sizeof duration);
    snprintf(line, sizeof line, "%s: %d %%%s, %s%s", stage, (int)(100 * fraction + 1e-9),
             rate, duration, ended ? "" : " left");
    if (state.on_terminal) {
        clear_line();
        fprintf(stderr, "%.*s", terminal_columns() - 1, line);
        state.line_is_open = !ended;
        if (ended)
            fputc('\n', stderr);
    } else {
        fprintf(stderr, "%s\n", line);
    }
    fflush(stderr);
}

void tr_log_progress(const char *stage, double done, double total, double updates,
                     double seconds)
{
    if (!state.speaks || state.level < TR_LOG_NORMAL || !(total > 0) || !(done > 0))
        return;
    pthread_mutex_lock(&state.mutex);
    if (done < state.done ||
        strncmp(stage, state.stage, sizeof state.stage - 1) != 0) { /* a new stage */
        snprintf(state.stage, sizeof state.stage, "%s", stage);
        state.tenths = 0;
        state.printed_at = -1;
    }
    state.done = done;
    double fraction = done < total ? done / total : 1;
    if (is_due(fraction, seconds))
        print_progress(stage, fraction, updates, seconds);
    pthread_mutex_unlock(&state.mutex);
}
