#include "common/base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* One state for the process; the mutex keeps lines of several threads apart. Nobody
 * speaks before tr_log_setup, hence never in the library. */
static struct {
    pthread_mutex_t mutex;
    tr_log_level level;
    bool speaks, on_terminal, in_colour, hushed;
    char program[64];
    FILE *file; /* NULL: standard error */
    tr_log_listener *listener;
    void *listener_self;
    /* the stage whose progress was reported last */
    char stage[64];
    double done, printed_at; /* seconds */
    int tenths;
    bool line_is_open; /* a progress line stands on the terminal, without newline */
} state = {
    .mutex = PTHREAD_MUTEX_INITIALIZER, .level = TR_LOG_NORMAL, .program = "tiltrec"};

static FILE *out(void) { return state.file ? state.file : stderr; }

void tr_log_setup(tr_log_level level, bool speaks, const char *program)
{
    const char *terminal = getenv("TERM"), *no_colour = getenv("NO_COLOR");
    pthread_mutex_lock(&state.mutex);
    state.level = level;
    state.speaks = speaks;
    state.on_terminal =
        !state.file && isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
    state.in_colour = state.on_terminal && !(no_colour && *no_colour);
    snprintf(state.program, sizeof state.program, "%s", program);
    pthread_mutex_unlock(&state.mutex);
}

void tr_log_hush(bool hush)
{
    pthread_mutex_lock(&state.mutex);
    state.hushed = hush && state.level < TR_LOG_VERBOSE;
    pthread_mutex_unlock(&state.mutex);
}

enum { RED = 31, GREEN = 32, YELLOW = 33 };

static void print_coloured(int colour, const char *text)
{
    if (state.in_colour)
        fprintf(out(), "\033[%dm%s\033[0m", colour, text);
    else
        fputs(text, out());
}

void tr_log_to(FILE *file)
{
    pthread_mutex_lock(&state.mutex);
    state.file = file;
    state.stage[0] = '\0';
    state.line_is_open = false;
    pthread_mutex_unlock(&state.mutex);
}

void tr_log_listen(tr_log_listener *listener, void *self)
{
    pthread_mutex_lock(&state.mutex);
    state.listener = listener;
    state.listener_self = self;
    pthread_mutex_unlock(&state.mutex);
}

/* Take the progress line, if any, off the terminal. */
static void clear_line(void)
{
    if (state.line_is_open)
        fputs("\r\033[K", out());
    state.line_is_open = false;
}

/* Names and what other programs wrote may hold control characters, which would command
 * the terminal: print them as "\x1b". 0xc2 begins those beyond ASCII in UTF-8. */
static void print_safely(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
            fprintf(out(), "\\xc2\\x%02x", *++c);
        else if (*c < ' ' || *c == 127)
            fprintf(out(), "\\x%02x", *c);
        else
            fputc(*c, out());
    }
}

static void print_line(const char *kind, const char *text)
{
    clear_line();
    if (kind) {
        fprintf(out(), "%s: ", state.program);
        print_coloured(*kind == 'e' ? RED : YELLOW, kind);
        fputs(": ", out());
    }
    print_safely(text);
    fputc('\n', out());
    fflush(out());
}

/* To the listener, and printed as "PROGRAM: KIND: text", or the text alone when kind is
 * NULL. */
static void say(const char *kind, bool printed, bool heard, const char *format,
                va_list arguments) __attribute__((format(printf, 4, 0)));

static void say(const char *kind, bool printed, bool heard, const char *format,
                va_list arguments)
{
    pthread_mutex_lock(&state.mutex);
    heard = heard && state.listener;
    /* An error's sentence fits without memory that may just have run out. */
    char shorter[1200], *text = shorter;
    va_list again;
    va_copy(again, arguments);
    int length =
        printed || heard ? vsnprintf(shorter, sizeof shorter, format, arguments) : 0;
    if (length >= (int)sizeof shorter && vasprintf(&text, format, again) < 0)
        text = shorter;
    va_end(again);
    if (heard)
        state.listener(state.listener_self, kind != NULL, text);
    if (printed)
        print_line(kind, text);
    if (text != shorter)
        free(text);
    pthread_mutex_unlock(&state.mutex);
}

void tr_info(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (state.speaks)
        say(NULL, state.level >= TR_LOG_NORMAL && !state.hushed, true, format, arguments);
    va_end(arguments);
}

void tr_verbose(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (state.speaks && state.level >= TR_LOG_VERBOSE)
        say(NULL, true, true, format, arguments);
    va_end(arguments);
}

void tr_warn(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (state.speaks)
        say("warning", true, true, format, arguments);
    va_end(arguments);
}

static void print_error(const char *format, ...) TR_PRINTF(1, 2);

static void print_error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say("error", true, false, format, arguments);
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

/* "stage [=====     ] " into `room` columns, or the stage alone where that is too
 * little. Returns the number of columns. */
static int print_bar(const char *stage, double fraction, int room)
{
    enum { NARROWEST = 10, WIDEST = 40 };
    static const char bar[] = "========================================";
    int width = room - (int)strlen(stage) - 4;
    if (width < NARROWEST)
        return fprintf(out(), "%.*s", room > 0 ? room : 0, stage);
    width = width < WIDEST ? width : WIDEST;
    int full = (int)(fraction * width + 1e-9);
    fprintf(out(), "%s [", stage);
    print_coloured(GREEN, &bar[WIDEST - full]);
    return (int)strlen(stage) + 2 + full + fprintf(out(), "%*s]", width - full, "");
}

/* One line in place of the last; it stays when the stage is over. */
static void print_on_terminal(const char *stage, double fraction, const char *rest)
{
    int columns = terminal_columns() - 1, length = (int)strlen(rest) + 1;
    clear_line();
    int used = print_bar(stage, fraction, columns - length);
    if (used + 1 < columns)
        fprintf(out(), " %.*s", columns - used - 1, rest);
    state.line_is_open = fraction < 1;
    if (!state.line_is_open)
        fputc('\n', out());
}

static void print_progress(const char *stage, double fraction, double updates,
                           double seconds)
{
    char rate[48], duration[32], rest[160];
    bool ended = fraction >= 1;
    rate_text(updates, seconds, rate, sizeof rate);
    time_text(ended ? seconds : seconds * (1 - fraction) / fraction, duration,
              sizeof duration);
    snprintf(rest, sizeof rest, "%d %%%s, %s%s", (int)(100 * fraction + 1e-9), rate,
             duration, ended ? "" : " left");
    if (state.on_terminal)
        print_on_terminal(stage, fraction, rest);
    else
        fprintf(out(), "%s: %s\n", stage, rest);
    fflush(out());
}

void tr_log_progress(const char *stage, double done, double total, double updates,
                     double seconds)
{
    if (!state.speaks || state.level < TR_LOG_NORMAL || state.hushed || !(total > 0) ||
        !(done > 0))
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
