/* JSON's numbers: a token, and the float32 or float64 that the general path makes of it. */
#ifndef EDGEXGB_ROWS_NUMBERS_H
#define EDGEXGB_ROWS_NUMBERS_H

#include <float.h>

#include "rows_status.h"

#define MAX_DIGITS 19      /* that surely fit 64 bits */
#define MAX_INT_DIGITS 18  /* that surely fit a signed 64 bits */
#define MAX_EXACT_DIGITS 15 /* that surely fit the 53 bits of a double */
#define MAX_POWER 22       /* the largest power of ten that is a double */
#define HUGE_EXPONENT 100000 /* from here on exponents are not counted, but left to Python */

static const double POWERS[MAX_POWER + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
};

typedef struct {
    const char *start, *end; /* the token */
    uint64_t digits;         /* the significant ones, as far as they fit */
    int n_digits;            /* how many there are; MAX_DIGITS + 1 where digits or exponent do not
                              * say the whole of the number, because it is too long */
    int exponent;            /* the value is digits * 10 ** exponent */
    bool is_negative;
    bool is_integer; /* written as one; Python then reads an int, for which -0 is 0 */
} Number;

static bool is_digit(char character)
{
    return character >= '0' && character <= '9';
}

static void add_digit(Number *number, char character)
{
    if (number->digits == 0 && character == '0') {
        return;
    }
    if (number->n_digits >= MAX_DIGITS) {
        number->n_digits = MAX_DIGITS + 1;
        return;
    }
    number->digits = number->digits * 10 + (uint64_t)(character - '0');
    number->n_digits++;
}

/* A JSON number (RFC 8259, section 6); what follows the token is the caller's to look at. */
static Status read_number(const char **at, Number *number)
{
    const char *next = *at;
    *number = (Number){.start = next, .is_integer = true};
    if (*next == '-') {
        number->is_negative = true;
        next++;
    }
    if (!is_digit(*next)) {
        return NOT_FOR_ME;
    }
    if (*next == '0') {
        next++; /* a digit after it is what follows the token, and wrong there */
    } else {
        for (; is_digit(*next); next++) {
            add_digit(number, *next);
        }
    }
    Py_ssize_t after_point = 0;
    if (*next == '.') {
        number->is_integer = false;
        if (!is_digit(*++next)) {
            return NOT_FOR_ME;
        }
        for (; is_digit(*next); next++) {
            add_digit(number, *next);
            after_point++;
        }
    }
    if (*next == 'e' || *next == 'E') {
        number->is_integer = false;
        next++;
        const bool is_negative = *next == '-';
        next += *next == '-' || *next == '+';
        if (!is_digit(*next)) {
            return NOT_FOR_ME;
        }
        for (; is_digit(*next); next++) {
            if (number->exponent < HUGE_EXPONENT) {
                number->exponent = number->exponent * 10 + (*next - '0');
            }
        }
        if (number->exponent >= HUGE_EXPONENT) {
            number->n_digits = MAX_DIGITS + 1;
        }
        number->exponent = is_negative ? -number->exponent : number->exponent;
    }
    if (after_point >= HUGE_EXPONENT) {
        number->n_digits = MAX_DIGITS + 1;
    } else {
        number->exponent -= (int)after_point;
    }
    *at = number->end = next;
    return READ;
}

/* What Python's float() makes of the token. */
static Status to_python_double(const Number *number, double *value)
{
    char *end;
    *value = PyOS_string_to_double(number->start, &end, NULL);
    if (*value == -1.0 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
            return FAILED;
        }
        PyErr_Clear();
        return NOT_FOR_ME;
    }
    return end == number->end ? READ : NOT_FOR_ME;
}

/* The exact number, where a double holds it, or the nearest double to a fraction. */
static Status to_double(const Number *number, double *value)
{
    if (!number->is_integer) {
        return to_python_double(number, value);
    }
    if (number->n_digits > MAX_EXACT_DIGITS) {
        return NOT_FOR_ME;
    }
    *value = (double)number->digits;
    if (number->is_negative && number->digits != 0) {
        *value = -*value;
    }
    return READ;
}

/* A whole number, rounded to float32 once, as the general path does. */
static Status integer_to_float(const Number *number, float *value)
{
    if (number->n_digits > MAX_INT_DIGITS) {
        return NOT_FOR_ME;
    }
    const int64_t magnitude = (int64_t)number->digits;
    *value = (float)(number->is_negative ? -magnitude : magnitude);
    return READ;
}

/* A fraction, rounded to the nearest double and then to float32, as the general path does.
 *
 * Two or three roundings in double come near the number; the nearest double is near it, too. Where
 * all doubles around the first, as far as the two can be apart, round to one float32, that is the
 * answer, since rounding keeps order. Else, about once in 2 ** 25, the exact way decides. With
 * u = 2 ** -53: the first is off by (1 + u) ** 2 - 1 at most, the nearest double by u; the bounds
 * lie at least 8 u - 2 u away.
 */
static Status fraction_to_float(const Number *number, float *value)
{
    const int power = number->exponent;
    if (number->n_digits <= MAX_DIGITS && power >= -MAX_POWER && power <= MAX_POWER) {
        double near = (double)number->digits;
        near = power < 0 ? near / POWERS[-power] : near * POWERS[power];
        if (near < 1e38) {
            const float low = (float)(near * (1.0 - 8.0 * DBL_EPSILON / 2.0));
            const float high = (float)(near * (1.0 + 8.0 * DBL_EPSILON / 2.0));
            if (low == high) {
                *value = number->is_negative ? -low : low;
                return READ;
            }
        }
    }
    double exact;
    const Status status = to_python_double(number, &exact);
    if (status != READ) {
        return status;
    }
    if (!(exact >= -(double)FLT_MAX && exact <= (double)FLT_MAX)) {
        return NOT_FOR_ME;
    }
    *value = (float)exact;
    return READ;
}

#endif
