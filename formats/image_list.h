/* One line per image format, the surest to be recognised first: a tr_format (format.h) in
 * a file of its own. */
TR_IMAGE_FORMAT(tr_format_hdf)
TR_IMAGE_FORMAT(tr_format_tiff)
TR_IMAGE_FORMAT(tr_format_mrc)
