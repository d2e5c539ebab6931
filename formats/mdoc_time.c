#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "formats/dose_file.h"

/* From 1 on; 0: none. By its first three letters, or in digits. */
static long month_of(const char *word, size_t length)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if (isdigit((unsigned char)*word)) {
        long month = strtol(word, NULL, 10);
        return month >= 1 && month <= 12 ? month : 0;
    }
    for (long m = 0; m < 12 && length >= 3; m++)
        if (strncasecmp(word, names + 3 * m, 3) == 0)
            return m + 1;
    return 0;
}

/* Days since 1 March of the year 0, in the Gregorian calendar: counted from March, leap
 * days are the last of a year, and the months before take (153 m + 2) / 5 days. */
static double days(long year, long month, long day)
{
    long m = (month + 9) % 12, y = year - (month <= 2);
    long count = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    return (double)count;
}

/* Fields between '-', '/', ' ', 'T' and ':'; so many of them, or false. */
static bool cut(const char *text, const char *field[6], size_t length[6])
{
    static const char between[] = "-/ T:\t";
    for (int i = 0; i < 6; i++) {
        /* "Tue" is no month, so a T always stands between */
        text += strspn(text, between);
        field[i] = text;
        length[i] = strcspn(text, between);
        if (length[i] == 0)
            return false;
        text += length[i];
    }
    return true;
}

double tr_mdoc_time(const char *text)
{
    const char *field[6];
    size_t length[6];
    if (!cut(text, field, length))
        return NAN;
    for (int i = 0; i < 6; i++)
        if (i != 1 && !isdigit((unsigned char)*field[i]))
            return NAN;
    bool year_first = length[0] == 4;
    const char *year_word = field[year_first ? 0 : 2];
    size_t year_length = length[year_first ? 0 : 2];
    long year = strtol(year_word, NULL, 10), month = month_of(field[1], length[1]);
    long day = strtol(field[year_first ? 2 : 0], NULL, 10);
    if (year_length != 2 && year_length != 4)
        return NAN;
    if (year_length == 2)
        year += 2000;
    double hour = strtod(field[3], NULL), minute = strtod(field[4], NULL);
    long second = strtol(field[5], NULL, 10);
    if (month == 0 || day < 1 || day > 31 || hour > 24.0 || minute > 60.0 || second > 60)
        return NAN;
    return 86400.0 * days(year, month, day) + 3600.0 * hour + 60.0 * minute +
           (double)second;
}
