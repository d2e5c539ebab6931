/* The files that say what contrast transfer the views of a series have. A format is its
 * own file with tr_ctf_NAME_probe and tr_ctf_NAME_read (ctf_file.h), and one line here;
 * each is known by its contents, and the first that knows a file reads it. */
#ifndef TR_CTF_LIST_H
#define TR_CTF_LIST_H

#define TR_CTF_FORMATS(FORMAT)                                                           \
    FORMAT(warp, "Warp's .xml")                                                          \
    FORMAT(relion, "RELION's tilt series .star")                                         \
    FORMAT(gctf, "Gctf's .star")                                                         \
    FORMAT(defocus, "IMOD's .defocus")                                                   \
    FORMAT(find, "ctffind's .txt, AreTomo's _CTF.txt")

/* "Warp's .xml, RELION's ..., " as string literals. */
#define TR_CTF_SHOWN(name, what) what ", "
#define TR_CTF_WORDS TR_CTF_FORMATS(TR_CTF_SHOWN)

#endif
