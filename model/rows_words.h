/* Names and categories, to be found by their UTF-8. */
#ifndef EDGEXGB_ROWS_WORDS_H
#define EDGEXGB_ROWS_WORDS_H

#include "rows_status.h"

typedef struct {
    const char *text; /* not ended by NUL */
    size_t size;
    Py_ssize_t code;
} Word;

typedef struct {
    Word *items; /* sorted */
    size_t count;
} Words;

static int compare_words(const void *left, const void *right)
{
    const Word *a = left, *b = right;
    if (a->size != b->size) {
        return a->size < b->size ? -1 : 1;
    }
    return memcmp(a->text, b->text, a->size);
}

/* The word's code, or -1. */
static Py_ssize_t find_word(const Words *words, const char *text, size_t size)
{
    const Word wanted = {text, size, 0};
    size_t low = 0, high = words->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = compare_words(&wanted, &words->items[middle]);
        if (order == 0) {
            return words->items[middle].code;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return -1;
}

/* Whether a JSON string may hold the text as it is, without escapes. */
static bool is_plain(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const unsigned char byte = (unsigned char)text[i];
        if (byte < 0x20 || byte == '"' || byte == '\\') {
            return false;
        }
    }
    return true;
}

/* A word in a bytes object, which must outlive it; None is no word. */
static Status read_word(PyObject *item, Py_ssize_t code, Word *word)
{
    char *text;
    Py_ssize_t size;
    if (item == Py_None) {
        return NOT_FOR_ME;
    }
    if (PyBytes_AsStringAndSize(item, &text, &size) < 0) {
        return FAILED;
    }
    *word = (Word){text, (size_t)size, code};
    return is_plain(text, (size_t)size) ? READ : NOT_FOR_ME;
}

#endif
