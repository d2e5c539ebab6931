/* Letters for labels in pictures: five columns by nine rows of dots each, seven of them
 * above the line. */
#ifndef TR_GLYPHS_H
#define TR_GLYPHS_H

#include <stdbool.h>
#include <stddef.h>

enum { TR_GLYPH_WIDTH = 5, TR_GLYPH_HEIGHT = 9, TR_GLYPH_ADVANCE = 6 };

/* Whether the dot at (column, row), row 0 at the top, of a character is set. There are
 * small letters (capitals are shown as such), digits and "+-.=:()"; all else is blank. */
bool tr_trial_glyph_dot(char character, size_t column, size_t row);

#endif
