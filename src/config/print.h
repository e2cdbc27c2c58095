/* print.h -- a tree as YAML text. */
#ifndef MT_CONFIG_PRINT_H
#define MT_CONFIG_PRINT_H

#include "base/text.h"
#include "base/tree.h"

/* Adds a tree as YAML that parses to an equal tree. indent: blanks in front of its lines; the text
 * so far ends after "key:" or "-" (or is empty). Ends with a newline. */
void mt_print_tree(struct mt_text *out, const struct mt_tree *t, int indent);
/* Adds one scalar, quoted where it must be. */
void mt_print_scalar(struct mt_text *out, const char *text);

#endif
