/* What is said on standard error: levels, progress as plain lines and on a terminal. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/log.h"

static const char *type_of_terminal = "xterm";
static unsigned short columns_of_terminal = 80;

/* What `speak` writes to standard error when that is `fd`, read from `from`. */
static const char *said_to(int fd, int from, void (*speak)(void))
{
    static char text[8192];
    size_t used = 0;
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0 && dup2(fd, STDERR_FILENO) >= 0);
    speak();
    fflush(stderr);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    assert_int_equal(fcntl(from, F_SETFL, O_NONBLOCK), 0);
    for (ssize_t n; (n = read(from, text + used, sizeof text - 1 - used)) > 0;)
        used += (size_t)n;
    text[used] = '\0';
    return text;
}

static const char *said(void (*speak)(void))
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const char *text = said_to(ends[1], ends[0], speak);
    close(ends[0]);
    close(ends[1]);
    return text;
}

static const char *said_on_terminal(void (*speak)(void))
{
    int outer = posix_openpt(O_RDWR | O_NOCTTY);
    if (outer < 0 || grantpt(outer) != 0 || unlockpt(outer) != 0)
        return NULL;
    int inner = open(ptsname(outer), O_RDWR | O_NOCTTY);
    if (inner < 0) {
        close(outer);
        return NULL;
    }
    setenv("TERM", type_of_terminal, 1);
    (void)ioctl(inner, TIOCSWINSZ, &(struct winsize){.ws_col = columns_of_terminal});
    const char *text = said_to(inner, outer, speak);
    close(inner);
    close(outer);
    return text;
}

static void say_all(void)
{
    tr_info("info %d", 1);
    tr_verbose("verbose %d", 2);
    tr_warn("warned %d", 3);
    tr_log_progress("stage", 1, 2, 3, 4);
    tr_log_error("100 %s wrong");
}

static void say_quiet(void)
{
    tr_log_setup(TR_LOG_QUIET, true, "program");
    say_all();
}

static void say_normal(void)
{
    tr_log_setup(TR_LOG_NORMAL, true, "program");
    say_all();
}

static void say_verbose(void)
{
    tr_log_setup(TR_LOG_VERBOSE, true, "program");
    say_all();
}

static void say_silent(void)
{
    tr_log_setup(TR_LOG_VERBOSE, false, "program");
    say_all();
}

#define WARNING "program: warning: warned 3\n"
#define ERROR "program: error: 100 %s wrong\n"

static void test_levels(void **unused)
{
    (void)unused;
    assert_string_equal(said(say_quiet), WARNING ERROR);
    assert_string_equal(said(say_normal), "info 1\n" WARNING
                                          "stage: 50 %, 0.8 updates/s, 4 s left\n" ERROR);
    assert_non_null(strstr(said(say_verbose), "info 1\nverbose 2\n" WARNING));
    assert_string_equal(said(say_silent), ERROR);
}

/* 100 steps of 0.98e9 updates and 0.1 s each: 9.8 G updates/s. */
static void say_progress(void)
{
    tr_log_setup(TR_LOG_NORMAL, true, "program");
    for (int i = 0; i <= 100; i++)
        tr_log_progress("projecting", i, 100, 0.98e9 * i, 0.1 * i);
    tr_log_progress("projecting", 100, 100, 98e9, 10); /* nothing new to say */
    tr_log_progress("writing", 7, 20, 0, 2 * 3600);    /* a jump over several tenths */
    tr_log_progress("writing", 20, 20, 0, 80);
    tr_log_progress("writing", 10, 20, 0, 80); /* the same stage once more */
}

static void test_plain_progress(void **unused)
{
    (void)unused;
    assert_string_equal(said(say_progress),
                        "projecting: 10 %, 9.8 G updates/s, 9 s left\n"
                        "projecting: 20 %, 9.8 G updates/s, 8 s left\n"
                        "projecting: 30 %, 9.8 G updates/s, 7 s left\n"
                        "projecting: 40 %, 9.8 G updates/s, 6 s left\n"
                        "projecting: 50 %, 9.8 G updates/s, 5 s left\n"
                        "projecting: 60 %, 9.8 G updates/s, 4 s left\n"
                        "projecting: 70 %, 9.8 G updates/s, 3 s left\n"
                        "projecting: 80 %, 9.8 G updates/s, 2 s left\n"
                        "projecting: 90 %, 9.8 G updates/s, 1 s left\n"
                        "projecting: 100 %, 9.8 G updates/s, 10 s\n"
                        "writing: 35 %, 3 h 42 min left\n"
                        "writing: 100 %, 1 min 20 s\n"
                        "writing: 50 %, 1 min 20 s left\n");
}

static void say_on_terminal(void)
{
    tr_log_setup(TR_LOG_NORMAL, true, "program");
    tr_log_progress("a", 1, 4, 0, 1);
    tr_log_progress("a", 1.1, 4, 0, 1.01); /* too soon to be shown */
    tr_log_progress("a", 2, 4, 0, 2);
    tr_warn("careful");
    tr_log_progress("a", 4, 4, 0, 4);
    tr_log_error("over");
}

/* What is said on a terminal of 80 columns that is not the process's own; skips the test
 * where there is none. */
static const char *on_terminal(void (*speak)(void))
{
    const char *text = said_on_terminal(speak);
    if (!text) {
        print_message("no pseudo-terminal can be had here\n");
        skip();
    }
    return text;
}

#define BAR_25 "==========" /* of 40 */
#define BAR_50 BAR_25 BAR_25
#define BAR_100 BAR_50 BAR_50
#define LEFT_25 "                              "
#define LEFT_50 "                    "
#define ON "\033[32m"
#define OFF "\033[0m"

static void test_terminal_progress(void **unused)
{
    (void)unused;
    unsetenv("NO_COLOR");
    assert_string_equal(on_terminal(say_on_terminal),
                        "a [" ON BAR_25 OFF LEFT_25 "] 25 %, 3 s left"
                        "\r\033[Ka [" ON BAR_50 OFF LEFT_50 "] 50 %, 2 s left"
                        "\r\033[Kprogram: \033[33mwarning" OFF ": careful\r\n"
                        "a [" ON BAR_100 OFF "] 100 %, 4 s\r\n"
                        "program: \033[31merror" OFF ": over\r\n");
}

static void test_no_colour(void **unused)
{
    (void)unused;
    setenv("NO_COLOR", "1", 1);
    assert_string_equal(on_terminal(say_on_terminal),
                        "a [" BAR_25 LEFT_25 "] 25 %, 3 s left"
                        "\r\033[Ka [" BAR_50 LEFT_50 "] 50 %, 2 s left"
                        "\r\033[Kprogram: warning: careful\r\n"
                        "a [" BAR_100 "] 100 %, 4 s\r\n"
                        "program: error: over\r\n");
    setenv("NO_COLOR", "", 1); /* empty is as good as not set */
    assert_non_null(strstr(on_terminal(say_on_terminal), ON));
    unsetenv("NO_COLOR");
}

static void test_dumb_terminal(void **unused)
{
    (void)unused;
    type_of_terminal = "dumb";
    const char *text = on_terminal(say_on_terminal);
    type_of_terminal = "xterm";
    assert_string_equal(text, "a: 25 %, 3 s left\r\na: 50 %, 2 s left\r\n"
                              "program: warning: careful\r\na: 100 %, 4 s\r\n"
                              "program: error: over\r\n");
}

/* Half done, of less each time: a new stage. */
static void say_long_name(void)
{
    static double total = 64;
    tr_log_setup(TR_LOG_NORMAL, true, "program");
    total /= 2;
    tr_log_progress("a stage whose name leaves no room for a bar of any use, none",
                    total / 2, total, 0, 1);
}

static void test_narrow_terminal(void **unused)
{
    (void)unused;
    setenv("NO_COLOR", "1", 1);
    assert_string_equal(on_terminal(say_long_name),
                        "a stage whose name leaves no room for a bar of any use, none "
                        "50 %, 1 s left");
    columns_of_terminal = 20;
    assert_string_equal(on_terminal(say_long_name), "\r\033[Ka st 50 %, 1 s left");
    columns_of_terminal = 12; /* rather cut than wrapped */
    const char *text = on_terminal(say_long_name);
    columns_of_terminal = 80;
    unsetenv("NO_COLOR");
    assert_in_range(strlen(text), 1, strlen("\r\033[K") + 11);
    assert_null(strchr(text, '\n'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_plain_progress),
        cmocka_unit_test(test_terminal_progress),
        cmocka_unit_test(test_no_colour),
        cmocka_unit_test(test_dumb_terminal),
        cmocka_unit_test(test_narrow_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
