/* Steps through a text that ends with a NUL, and the strings in it. */
#ifndef EDGEXGB_ROWS_TOKENS_H
#define EDGEXGB_ROWS_TOKENS_H

#include "rows_status.h"

typedef struct {
    const char *at;
    const char *end;
} Cursor;

static void skip_space(Cursor *cursor)
{
    while (*cursor->at == ' ' || *cursor->at == '\n' || *cursor->at == '\r' || *cursor->at == '\t') {
        cursor->at++;
    }
}

/* Whether the character comes next; if so it is passed, and the space after it. */
static bool take(Cursor *cursor, char character)
{
    if (*cursor->at != character) {
        return false;
    }
    cursor->at++;
    skip_space(cursor);
    return true;
}

static bool take_word(Cursor *cursor, const char *word)
{
    const size_t size = strlen(word);
    if (strncmp(cursor->at, word, size) != 0) {
        return false;
    }
    cursor->at += size;
    return true;
}

/* A string without escapes, whose UTF-8 is not checked. The opening quote comes next. */
static Status read_string(Cursor *cursor, const char **text, size_t *size)
{
    const char *start = ++cursor->at, *next = start;
    while (*next != '"') {
        if ((unsigned char)*next < 0x20 || *next == '\\') {
            return NOT_FOR_ME;
        }
        next++;
    }
    *text = start;
    *size = (size_t)(next - start);
    cursor->at = next + 1;
    return READ;
}

#endif
