/* Numbers to the text that Python's repr, and so its JSON, has for them: the fewest digits that
 * give the float64 back, and of those the nearest.
 *
 * Predictions are float32 values, whose exact decimals are short enough for 128-bit integers where
 * the value is neither tiny nor huge. All others are left to Python.
 */

#ifndef EDGEXGB_DIGITS_H
#define EDGEXGB_DIGITS_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MAX_NUMBER_CHARACTERS 32 /* of a float64: -2.2250738585072014e-308 has 24 */

#ifdef __SIZEOF_INT128__

__extension__ typedef unsigned __int128 Wide;

enum { ALL_DIGITS = 17 }; /* as many tell any float64 from its neighbours */

static const uint64_t TENS[] = {
    1u,
    10u,
    100u,
    1000u,
    10000u,
    100000u,
    1000000u,
    10000000u,
    100000000u,
    1000000000u,
    10000000000u,
    100000000000u,
    1000000000000u,
    10000000000000u,
    100000000000000u,
    1000000000000000u,
    10000000000000000u,
    100000000000000000u,
};

static Wide power_of_ten(int power) /* up to 20 */
{
    return power <= ALL_DIGITS ? (Wide)TENS[power] : (Wide)TENS[ALL_DIGITS] * TENS[power - ALL_DIGITS];
}

/* How many digits stand before the decimal point, roughly; of 0.01 there are -1. */
static int guess_point(double value)
{
    static const double BORDERS[] = {1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7};
    int point = -3;
    for (size_t i = 0; i < sizeof BORDERS / sizeof BORDERS[0] && value >= BORDERS[i]; i++) {
        point++;
    }
    return point;
}

/* The decimal digits * 10 ** -scale. */
typedef struct {
    uint64_t digits;
    int scale;
} Decimal;

/* The shortest decimal that reads as the value, which is a float32 in [1e-4, 2 ** 24).
 *
 * With value = mantissa * 2 ** -bits and a scale that leaves 17 digits before the point, everything
 * is counted in units of 2 ** -(bits + 31): exact is the scaled value, above and below how far a
 * decimal may lie from it to be read as it. (The doubles around it lie 2 ** 29 times closer than the
 * floats; below a power of two, twice as close again.) Largest is exact, under 2 ** 122. No decimal
 * of 17 digits lies exactly between two doubles here, since those middles have 26 digits or more.
 */
static Decimal shortest_decimal(double value)
{
    int exponent;
    const uint64_t mantissa = (uint64_t)ldexp(frexp(value, &exponent), 24);
    const int bits = 24 - exponent;
    const int shift = bits + 31;
    int scale = ALL_DIGITS - guess_point(value);
    Wide power = power_of_ten(scale), exact = (Wide)mantissa * power << 31;
    if (exact >> shift >= TENS[ALL_DIGITS]) {
        power = power_of_ten(--scale);
        exact = (Wide)mantissa * power << 31;
    } else if (exact >> shift < TENS[ALL_DIGITS - 1]) {
        power = power_of_ten(++scale);
        exact = (Wide)mantissa * power << 31;
    }
    const Wide above = power * 2, below = mantissa == 1u << 23 ? power : power * 2;
    const uint64_t whole = (uint64_t)(exact >> shift);
    const Wide fraction = exact - ((Wide)whole << shift);
    Decimal best = {whole, scale};
    for (int cut = 0; cut < ALL_DIGITS; cut++) {
        const uint64_t kept = whole / TENS[cut];
        const Wide unit = (Wide)TENS[cut] << shift;
        const Wide over = ((Wide)(whole - kept * TENS[cut]) << shift) + fraction;
        const Wide under = unit - over;
        const bool is_low = over < below, is_high = under < above;
        if (!is_low && !is_high) {
            break; /* no decimal of fewer digits will do either */
        }
        const bool is_nearer_high = under < over || (under == over && kept % 2 == 1);
        const bool goes_up = is_high && (!is_low || is_nearer_high);
        best = (Decimal){kept + goes_up, scale - cut};
    }
    while (best.digits % 10 == 0) {
        best.digits /= 10;
        best.scale--;
    }
    return best;
}

/* Writes the decimal without an exponent; the characters. */
static size_t write_decimal(Decimal decimal, char *out)
{
    char digits[24], *start = out;
    int count = 0;
    for (uint64_t left = decimal.digits; left != 0; left /= 10) {
        digits[count++] = (char)('0' + left % 10); /* the last one first */
    }
    int point = count - decimal.scale; /* digits before it */
    if (point <= 0) {
        *out++ = '0';
        *out++ = '.';
        for (; point < 0; point++) {
            *out++ = '0';
        }
        while (count > 0) {
            *out++ = digits[--count];
        }
        return (size_t)(out - start);
    }
    for (; point > 0; point--) {
        *out++ = count > 0 ? digits[--count] : '0';
    }
    *out++ = '.';
    if (count == 0) {
        *out++ = '0';
    }
    while (count > 0) {
        *out++ = digits[--count];
    }
    return (size_t)(out - start);
}

/* Writes a number as Python's repr does, without an end; how many characters, at most
 * MAX_NUMBER_CHARACTERS. 0 where Python has to do it. */
static size_t write_float32(double value, char *out)
{
    const double size = fabs(value);
    if (!(size >= 1e-4 && size < 16777216.0) || (double)(float)size != size) {
        return 0;
    }
    if (value < 0) {
        *out++ = '-';
    }
    return (size_t)(value < 0) + write_decimal(shortest_decimal(size), out);
}

#else

static size_t write_float32(double value, char *out)
{
    (void)value;
    (void)out;
    return 0;
}

#endif
#endif
