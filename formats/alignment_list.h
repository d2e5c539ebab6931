/* The files beside a series that say where its views were taken (angles), how they are
 * aligned (transforms) or both: name and endings, the better one first. A format is its
 * own file with tr_NAME_probe and tr_NAME_read (alignment.h), and one line here; where to
 * look, messages and help follow. Of several beside one series the first is taken. */
#ifndef TR_ALIGNMENT_LIST_H
#define TR_ALIGNMENT_LIST_H

#define TR_ALIGNMENT_FORMATS(ANGLES, BOTH, TRANSFORMS)                                   \
    ANGLES(tilts, ".tlt .rawtlt _TLT.txt")                                               \
    ANGLES(serialem, ".mdoc")                                                            \
    BOTH(aln, ".aln")                                                                    \
    TRANSFORMS(xf, ".xf")                                                                \
    BOTH(star, ".star")                                                                  \
    BOTH(tomostar_views, ".tomostar")                                                    \
    BOTH(warp_xml, ".xml")

/* " .tlt .rawtlt .mdoc ..." as string literals. */
#define TR_ALIGNMENT_SHOWN(name, endings) " " endings
#define TR_ALIGNMENT_HIDDEN(name, endings)
#define TR_ANGLE_ENDINGS                                                                 \
    TR_ALIGNMENT_FORMATS(TR_ALIGNMENT_SHOWN, TR_ALIGNMENT_SHOWN, TR_ALIGNMENT_HIDDEN)
#define TR_TRANSFORM_ENDINGS                                                             \
    TR_ALIGNMENT_FORMATS(TR_ALIGNMENT_HIDDEN, TR_ALIGNMENT_SHOWN, TR_ALIGNMENT_SHOWN)

#endif
