#include "common/options/options.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "formats/alignment_list.h"
#include "formats/ctf_list.h"

/* Rows that set a member of tr_options. */
#define FLAG(...) TR_FLAG_ROW(tr_options, __VA_ARGS__)
#define STRING(...) TR_STRING_ROW(tr_options, __VA_ARGS__)
#define LIST(...) TR_LIST_ROW(tr_options, __VA_ARGS__)
#define WISH(...) TR_WISH_ROW(tr_options, __VA_ARGS__)
#define WORDS(...) TR_WORDS_ROW(tr_options, __VA_ARGS__)
#define CHOICE(...) TR_CHOICE_ROW(tr_options, __VA_ARGS__)
#define INT(...) TR_INT_ROW(tr_options, __VA_ARGS__)
#define REAL(...) TR_REAL_ROW(tr_options, __VA_ARGS__)
#define PAIR(...) TR_PAIR_ROW(tr_options, __VA_ARGS__)
#define RANGE(...) TR_RANGE_ROW(tr_options, __VA_ARGS__)
#define BYTES(...) TR_BYTES_ROW(tr_options, __VA_ARGS__)

const tr_option tr_common_options[] = {
    STRING(algorithm, "algorithm", "NAME", .section = "Algorithm", .letter = 'a',
           .fallback = "WBP",
           .help = "Reconstruction algorithm; what each has of its own stands below",
           .brief = "Reconstruction algorithm; WBP unless given"),
    WORDS(purpose, "for", "USE", "viewing denoising averaging", .aside = true,
          .help =
              "Set the CTF, the dose and the filter for this use of the tomogram, as "
              "far as they are not given and the files beside the series allow: to be "
              "looked at, as half sets for a denoiser, or for subtomogram averaging, "
              "with a list of the views beside the tomogram; the log says what is set",
          .brief = "Set CTF, dose, filter for a use of the tomogram"),

    STRING(input, "input", "FILE", .section = "Files", .aside = true,
           .help = "Aligned tilt series, the same as naming it without an option"),
    STRING(output, "output", "FILE", .aside = true, .letter = 'o',
           .help = "Tomogram to write; unless given, the series' name with _rec.mrc in "
                   "the current folder",
           .brief = "Tomogram to write; unless given, SERIES_rec.mrc"),
    STRING(tilts, "tilts", "FILE", .aside = true, .letter = 't',
           .help = "Tilt angles in degrees, or an alignment with them and the views that "
                   "it leaves out, from" TR_ANGLE_ENDINGS "; unless given, the file "
                   "beside the series that has its name",
           .brief = "Tilt angles; unless given, the file beside SERIES"),
    STRING(xtilts, "xtilts", "FILE", .aside = true,
           .help = "Tilt about the x axis of each view in degrees (IMOD's .xtilt), "
                   "subtracted from the pitch"),
    STRING(zfactors, "z-factors", "FILE", .aside = true,
           .help =
               "z-factors of each view (IMOD's ZFACTORFILE): how what is seen moves with "
               "the height in the specimen; \"none\" leaves out those of a tilt.com"),
    STRING(local, "local", "FILE", .aside = true,
           .help = "Local alignment (IMOD's LOCALFILE): rotations, shifts and tilts of "
                   "patches; \"none\" leaves out that of a tilt.com"),
    REAL(local_scale, "local-scale", "FACTOR", NULL, 1e-3, 1e3, .aside = true,
         .help = "Pixels of the series for one that the local alignment is about; unless "
                 "given, by the sizes of both"),
    STRING(transforms, "transforms", "FILE", .aside = true,
           .help = "Alignment, from" TR_TRANSFORM_ENDINGS ", to apply to the views while "
                   "reading a series that is not aligned yet; unless given, the file "
                   "beside such a series that has its name"),
    REAL(alignment_pixel, "alignment-pixel", "ANGSTROMS", NULL, 0.001, 1e6, .aside = true,
         .help =
             "Size of a pixel of the images that the alignment was made with, if that "
             "is another than the series': its shifts are scaled; unless given, the "
             "same, or what the alignment says"),
    FLAG(aligned, "aligned", .aside = true,
         .help = "The views are aligned already, whatever the series' name and the files "
                 "beside it say"),
    FLAG(align, "align", .aside = true,
         .help = "Align a raw series by what its views show, write the alignment to "
                 "OUTPUT_align.xf and .tlt, and reconstruct with it"),
    REAL(axis_angle, "axis-angle", "DEGREES", NULL, -180, 180, .aside = true,
         .help =
             "Where --align looks for the tilt axis, counterclockwise from the raw "
             "images' y, within 10 degrees; unless given, where an mdoc has it, or all "
             "round"),
    STRING(initial, "initial", "FILE", .aside = true,
           .help = "Tomogram from which an iterative algorithm starts, instead of zero"),
    CHOICE(outside, "outside", "WHAT", "auto", "auto continue zero",
           .help =
               "What iterative algorithms take to be outside the field of view: the "
               "specimen goes on (densities that are found as well, and not written), or "
               "nothing; auto decides from how strong the views' edges are"),
    STRING(imod_com, "imod-com", "FILE", .aside = true,
           .help = "Take files and geometry from this IMOD tilt.com; options given here "
                   "win over it",
           .brief = "Take files and geometry from IMOD's tilt.com"),

    STRING(tomo_name, "tomo-name", "NAME", .aside = true,
           .help =
               "The series of this rlnTomoName, where RELION's tomograms.star is given "
               "in the place of a series"),

    WORDS(half_sets, "half-sets", "HOW", "views frames EVEN ODD star", .aside = true,
          .help = "Make two more tomograms, OUTPUT_EVN and OUTPUT_ODD, with the same "
                  "parameters, and their Fourier ring correlation: of every second view "
                  "each, or of two series made from the even and the odd frames, "
                  "which may be those that RELION's STAR file of the series names",
          .brief = "Even and odd tomograms beside it, and their FRC"),
    INT(splits, "splits", "N", "2", 2, 8, .aside = true,
        .help = "With --half-sets views: divide the views into so many parts, every N-th "
                "view by angle each; from 3 on their tomograms are OUTPUT_1of3, "
                "OUTPUT_2of3 and so on"),

    STRING(second, "second", "SERIES", .section = "A second axis", .aside = true,
           .help =
               "Reconstruct from this series of the same specimen as well, tilted about "
               "another axis: SIRT, SART, CGLS and ADMM in the programs that hold the "
               "whole volume. What its files say is found as that of SERIES"),
    STRING(second_match, "second-match", "FILE", .aside = true,
           .help =
               "How the second tomogram lies in the first: IMOD's solve.xf, or "
               "inverse.xf if the file's name begins so; unless given, by the tilt axes "
               "in the alignments of both"),
    STRING(second_tilts, "second-tilts", "FILE", .aside = true,
           .help = "--tilts of the second series"),
    STRING(second_transforms, "second-transforms", "FILE", .aside = true,
           .help = "--transforms of the second series"),
    STRING(second_com, "second-imod-com", "FILE", .aside = true,
           .help = "--imod-com of the second series"),
    STRING(second_ctf, "second-ctf", "FILE", .aside = true,
           .help = "--ctf of the second series"),
    REAL(second_scale, "second-scale", "FACTOR", NULL, 1e-6, 1e6,
         .help = "Multiply the second series by this; unless given, by what makes it as "
                 "strong as the first where the two differ much"),

    STRING(report, "report", "FILE", .section = "The result", .aside = true,
           .help = "Write a page for a web browser (HTML) with the tomogram's sections, "
                   "convergence, the views one by one, geometry, settings and times",
           .brief = "A page for the browser: sections, views, geometry"),
    STRING(json, "json", "FILE", .aside = true,
           .help = "Write the result for other programs to read (JSON): inputs with "
                   "checksums, settings, geometry, residuals, statistics, times"),
    STRING(relion_star, "relion-star", "FILE", .aside = true,
           .help =
               "Put the tomogram into RELION's table of series (tomograms.star), once it "
               "is complete: sizes, binning, hand, its name and those of half sets; a "
               "row of that name is replaced, others stay"),
    STRING(alignment_json, "write-alignment", "FILE", .aside = true,
           .help =
               "Write angles and alignment of the views as the CryoET Data Portal has "
               "them (JSON)"),
    STRING(residual_of, "residual-of", "VOLUME", .aside = true,
           .help = "Instead of a tomogram, say how well this one, of another program or "
                   "denoised, explains the views: |b - A x| of each, as a table and as "
                   "images, after a scale and each view's offset are fitted"),
    FLAG(preview, "preview", .aside = true,
         .help = "Write the three central sections as pictures beside the tomogram: its "
                 "name with _xy.png, _xz.png and _yz.png"),

    STRING(batch, "batch", "LIST", .section = "Many series", .aside = true,
           .help = "Make a tomogram of each series that a line of this file names, or of "
                   "the one in each folder it names, as the subcommand batch does: batch "
                   "SERIES... -- OPTIONS. What is complete is left alone, a failure does "
                   "not stop the others, and batch.csv and batch.html tell of all. -o is "
                   "the folder for all of them; {} in an option is the series' name"),
    INT(ranks_per_series, "ranks-per-series", "N", "1", 1, 65536, .aside = true,
        .help = "Processes of a batch that make a tomogram together"),

    INT(thickness, "thickness", "PIXELS", NULL, 1, 65536, .section = "Geometry",
        .letter = 'T',
        .help = "Thickness of the tomogram along the beam, in unbinned pixels; unless "
                "given, what the alignment says (.aln, tomograms.star), or a quarter of "
                "the images' width; all of it where the tilts go over 170 degrees",
        .brief = "Thickness of the tomogram, in unbinned pixels"),
    INT(width, "width", "PIXELS", NULL, 1, 65536, .letter = 'w',
        .help = "Width of the tomogram across the tilt axis, in unbinned pixels; unless "
                "given, that of the views"),
    PAIR(size, "size", "X,Y", NULL, 0, 0, .aside = true,
         .help = "Columns and rows of the views once aligned, in unbinned pixels; unless "
                 "given, those of the raw images, turned if the tilt axis is along their "
                 "x"),
    REAL(pixel, "pixel", "ANGSTROMS", NULL, 0.001, 1e6, .aside = true,
         .help = "Size of a pixel of the series; unless given, what its header says, or "
                 "else the files beside it"),
    REAL(tilt_offset, "tilt-offset", "DEGREES", "0", -180, 180,
         .help = "Added to every tilt angle", .brief = "Added to every tilt angle"),
    CHOICE(
        hand, "hand", "HAND", "+1", "+1 -1", .aside = true,
        .help =
            "-1 takes the tilt angles, and x-tilts, with the other sign than the files "
            "have them: the tomogram becomes its mirror image along the beam"),
    REAL(axis_shift, "axis-shift", "PIXELS", "0", -65536, 65536,
         .help = "Shift of the tilt axis from the middle of the views, in unbinned "
                 "pixels along x (the second number of IMOD's OFFSET)",
         .brief = "Shift of the tilt axis from the images' middle"),
    FLAG(find_axis, "find-axis",
         .help = "Find --axis-shift from the views, of scans over 180 degrees and more "
                 "whose rays are parallel: by mirrored pairs, the double wedge of the "
                 "sinogram's spectrum, and the centre of mass"),
    FLAG(stitch, "stitch",
         .help = "Of a scan over 360 degrees whose axis is near an edge of the views, "
                 "make each view and the mirrored one half a turn on into one that is "
                 "nearly twice as wide; with --find-axis or --axis-shift"),
    REAL(pitch, "pitch", "DEGREES", "0", -60, 60,
         .help = "Tilt of the specimen about the x axis (IMOD's XAXISTILT)",
         .brief = "Tilt of the specimen about the x axis"),
    REAL(x_shift, "x-shift", "PIXELS", "0", -65536, 65536,
         .help =
             "Move the specimen to the right in the tomogram by so many unbinned pixels"),
    REAL(z_shift, "z-shift", "PIXELS", "0", -65536, 65536,
         .help = "Move the specimen up in the tomogram's thickness by so many unbinned "
                 "pixels"),
    LIST(exclude, "exclude", "LIST",
         .help = "Views to leave out, numbered from 1, such as 1-4,7,40-41",
         .brief = "Views to leave out, such as 1-4,7,40-41"),
    LIST(include, "include", "LIST",
         .help = "Views to use, numbered from 1; all others are left out"),
    RANGE(slices, "slices", "A:B", 0, 2147483647,
          .help = "First and last slice along the tilt axis to reconstruct, both "
                  "included, numbered from 0; unless given, all"),
    INT(views.bin, "bin", "N", "1", 1, 32,
        .help = "Make the views N times smaller by Fourier cropping, and so the tomogram",
        .brief = "Make views and tomogram N times smaller"),

    STRING(flats, "flats", "FILE[,FILE]", .section = "Data", .aside = true,
           .help = "Images of the beam without a specimen, before the views and, in a "
                   "second file, after them: the views become (value - dark) / (flat - "
                   "dark), and then -log of that; unless given, those in the series' own "
                   "HDF5 file"),
    STRING(darks, "darks", "FILE", .aside = true,
           .help = "Images without a beam, for --flats; unless given, those in the "
                   "series' own HDF5 file"),
    FLAG(no_flats, "no-flats", .aside = true,
         .help = "Leave the views as they are, for those that are divided by the flat "
                 "fields in their file already"),
    STRING(stripes, "stripes", "METHODS",
           .help = "Remove what becomes rings: some of dead, large and sort (Vo), each "
                   "with a width in columns if wanted (sort:11), wavelet-fourier (with "
                   "levels: wavelet-fourier:4), and titarenko, with commas between; "
                   "dead,large,sort where nothing is known of the "
                   "detector. For 60 views and more that are not aligned"),
    REAL(views.log_base, "log", "BASE", NULL, 0, 0,
         .help = "Take -log(value + BASE) of the views first, for bright-field or X-ray "
                 "transmission"),
    CHOICE(views.hot_pixels, "hot-pixels", "WHAT", "auto", "auto replace warn off",
           .help =
               "Pixels of the detector that are too bright or too dark, in one view or "
               "in many: replace them by their neighbours, only warn of them, or do "
               "not look for them; auto replaces them in views that are aligned while "
               "they are read, and warns otherwise"),
    CHOICE(views.normalize, "normalize", "HOW", "none", "none mean mean-std contrast",
           .help = "Of each view, after the logarithm: subtract its mean, divide by its "
                   "standard deviation as well, or take value / mean - 1"),
    STRING(ctf, "ctf", "FILE", .aside = true,
           .help =
               "Correct the contrast transfer function (CTF) of each view as this file "
               "has it, from " TR_CTF_WORDS "known by their contents; none: not, also "
               "where --for would"),
    CHOICE(views.ctf_mode, "ctf-mode", "HOW", "flip", "flip multiply wiener model",
           .help =
               "How the CTF is corrected: flip the sign of frequencies where it is "
               "negative, multiply by it, or weight them by a Wiener filter with the "
               "signal and noise that the views' spectra show; or model, for WIENER and "
               "ADMM: it is a part of the projection, and so is --dose"),
    REAL(views.cs, "cs", "MILLIMETRES", NULL, 0, 20,
         .help = "Spherical aberration, for --ctf; unless given, what that file says"),
    REAL(views.amplitude, "amplitude-contrast", "FRACTION", NULL, 0, 1,
         .help = "Amplitude contrast, for --ctf; unless given, what that file says"),
    STRING(ctf_band, "ctf-band", "PHI|off", .fallback = "0.5", .aside = true,
           .help = "Correct the CTF for the depth of a voxel, in bands that are so thin "
                   "that the phase is off by PHI radians at most, at the highest "
                   "frequency: for algorithms that backproject once; off is one defocus "
                   "for all of a view"),
    CHOICE(views.defocus_hand, "defocus-hand", "HAND", "file", "file +1 -1",
           .aside = true,
           .help = "Whether the defocus grows (+1) or falls (-1) to the right of the "
                   "axis at positive tilts; file is +1, unless the file of --ctf says "
                   "otherwise"),
    FLAG(check_hand, "check-hand", .aside = true,
         .help = "Say which --defocus-hand the tilted views speak for, by how the rings "
                 "of their spectra change across the tilt axis; nothing is changed"),
    FLAG(ctf_again, "ctf-again", .aside = true,
         .help = "Correct the CTF although the series' header says that it is corrected "
                 "already"),
    FLAG(views.invert, "invert", .help = "Invert the contrast of the tomogram"),
    STRING(dose, "dose", "WHAT", .aside = true,
           .help =
               "Weight the frequencies of each view by what its exposure has left of "
               "them: mdoc, for what the mdoc or RELION's STAR file of the series says; "
               "a file (an mdoc, RELION's .star, Warp's .tomostar, IMOD's texts of "
               "exposures); the exposure of each view, the same for all, in e/A^2; or "
               "none: not, also "
               "where --for would",
           .brief = "Dose weighting: mdoc, a file, or e/A^2 a view"),
    CHOICE(views.dose_model, "dose-model", "NAME", "gg", "gg bfactor",
           .help = "The weights: those of Grant and Grigorieff, with the exposure at the "
                   "end of the view, or a B-factor that grows with the exposure before "
                   "it"),
    REAL(views.dose_bfactor, "dose-bfactor", "B", "4", 0.01, 1000,
         .help = "For --dose-model bfactor: square angstroms for each e/A^2"),
    REAL(views.voltage, "voltage", "KV", NULL, 20, 3000,
         .help =
             "Voltage of the microscope, for --ctf and --dose-model gg; unless given, "
             "what the files say, or for the dose 300"),
    CHOICE(dose_type, "dose-type", "TYPE", "auto", "auto 1 2 3", .aside = true,
           .help = "What a text file of exposures has of each view, as IMOD's -dtype: 1 "
                   "its exposure; 2 the exposure before it and its own; 3 that before it "
                   "and at its end; auto tells them apart, or asks"),
    REAL(dose_initial, "dose-initial", "DOSE", "0", 0, 1000, .aside = true,
         .help = "Exposure in e/A^2 before the first view"),
    STRING(dose_order, "dose-order", "ORDER", .aside = true,
           .help = "In which order views were taken, where no file tells: file, as they "
                   "are in the series; symmetric or symmetric:START,GROUP, from START "
                   "degrees (0), GROUP views (1) up, as many down and so on, down first "
                   "where GROUP is negative; bidirectional:N, view N first and back to "
                   "the first, then from N + 1 on, or with -N from N + 1 on first"),
    PAIR(scale, "scale", "ADD,MUL", "0,1", 0, 0, .help = "Write (value + ADD) * MUL"),
    CHOICE(format, "format", "NAME", "mrc", "mrc hdf5 tiff zarr", .aside = true,
           .help =
               "Format of the tomogram where -o does not name it; otherwise that "
               "name's ending says it: .mrc .rec .st .ali .map .mrcs, .hdf .h5 .hdf5, "
               ".tif .tiff, .zarr"),
    CHOICE(mode, "mode", "TYPE", "float", "float half int16 uint16 byte",
           .help = "Number type of the tomogram; the integers are scaled from the "
                   "statistics of the whole volume, and the scaling is printed"),
    CHOICE(order, "order", "AXES", "xzy", "xzy xyz",
           .help = "Columns, rows and sections of the tomogram: xzy as IMOD's tilt "
                   "writes, or xyz, rotated about x, which keeps the hand"),
    INT(deflate, "deflate", "LEVEL", "0", 0, 9,
        .help = "Compress an HDF5 tomogram; 0 is not at all, 9 the smallest file"),
    FLAG(zarr, "zarr", .aside = true,
         .help = "Write the tomogram as OME-Zarr as well, in three sizes, to the folder "
                 "beside it that has its name with .zarr"),
    CHOICE(zarr_version, "zarr-version", "N", "2", "2 3", .aside = true,
           .help =
               "Of Zarr: 2 with OME-NGFF 0.4, which data portals take, or 3 with 0.5"),
    INT(zarr_chunk, "zarr-chunk", "VOXELS", NULL, 16, 1024, .aside = true,
        .help = "Side of a chunk of a Zarr store, even; unless given, 256, or less where "
                "memory is short"),

    INT(threads, "threads", "N", NULL, 1, 4096, .section = "The run", .aside = true,
        .help = "Threads of each process; unless given, the cores of the machine shared "
                "evenly by the processes on it"),
    BYTES(memory, "memory", "SIZE", 1048576, 1125899906842624, .aside = true,
          .help = "Memory that each process may use, such as 512M or 4G; unless given, "
                  "half of the machine's, shared evenly by the processes on it"),
    REAL(checkpoint, "checkpoint", "MINUTES", "10", 0, 100000, .aside = true,
         .help =
             "How often what is done so far is kept for --resume; also when the run is "
             "stopped by SIGTERM, SIGINT or SIGHUP after a minute or more; 0 never"),
    FLAG(resume, "resume", .aside = true,
         .help = "Go on from what an interrupted run of the same data and options kept",
         .brief = "Go on from where the same run was interrupted"),
    FLAG(verify, "verify", .aside = true,
         .help = "Before the tomogram gets its name, read it back from the disk and "
                 "compare it with checksums that were taken while it was written"),
    STRING(timeline, "timeline", "FILE", .aside = true,
           .help =
               "Write when each stage worked, for chrome://tracing or Perfetto (JSON)"),
    WISH(check_alignment, "check-alignment", "[FILE]", "none", .aside = true,
         .help = "Compare each view with what all others predict of it, and say which "
                 "are off and by how much, whether the axis is, and what cannot be told; "
                 "nothing is changed. With =FILE as a CSV too"),
    WISH(try_what, "try", "[SWEEP]", "lambda samples", .aside = true,
         .help = "Instead of a tomogram, reconstruct three thin slabs (bottom, middle "
                 "and top along the tilt axis) and write a contact sheet of them (PNG). "
                 "With SWEEP, PARAMETER=FROM:TO:STEP, do so for each value, and suggest "
                 "the best; the parameters are tilt-offset, axis-shift, pitch, thickness "
                 "and z-shift. With lambda, or lambda=FROM:TO:FACTOR, for ADMM at these "
                 "multiples of the weight that it would have, to choose one by eye",
         .brief = "Thin slabs instead, to find the geometry with"),
    FLAG(dry_run, "dry-run", .aside = true,
         .help = "Print what would be done and the memory it takes, and stop",
         .brief = "Print what would be done, and stop"),
    FLAG(quiet, "quiet", .aside = true, .letter = 'q',
         .help = "Print warnings and errors only"),
    FLAG(verbose, "verbose", .aside = true, .letter = 'v',
         .help = "Print more of what is done"),
    FLAG(version, "version", .aside = true, .help = "Print the version and stop"),
    FLAG(help, "help", .aside = true, .letter = 'h', .metavar = "[TOPIC]",
         .help = "Print the options used most and stop; all of them with the topic all; "
                 "or explain the topic: an option, an algorithm, or a group of options"),
    FLAG(man, "man", .aside = true),
    FLAG(markdown, "markdown", .aside = true),
    CHOICE(completion, "completion", NULL, "none", "none bash zsh fish", .aside = true),
};
const size_t tr_n_common_options = sizeof tr_common_options / sizeof *tr_common_options;

const tr_option tr_device_option_rows[] = {
    TR_STRING_ROW(tr_device_options, devices, "device", "LIST", .section = "The GPU",
                  .aside = true,
                  .help = "Numbers of the GPUs to use, such as 0,2 or 1-3; unless given, "
                          "all. The processes on a machine share them out",
                  .brief = "Numbers of the GPUs to use, such as 0,2 or 1-3"),
    TR_CHOICE_ROW(tr_device_options, kernel, "kernel", "NAME", "auto",
                  "auto texture tile tensor",
                  .help = "How to backproject: with the texture hardware, whose "
                          "interpolation has 8 bits, with tiles in shared memory, in "
                          "single precision, which auto takes, or with tensor cores, in "
                          "pairs of halves"),
    TR_CHOICE_ROW(tr_device_options, memory, "device-memory", "HOW", "planes",
                  "planes managed", .aside = true,
                  .help =
                      "Where a volume as a whole exceeds the GPU's memory: it lies in "
                      "host memory and goes through the GPU by slabs of planes, or in "
                      "unified memory that the driver moves. The results are the same"),
};
const size_t tr_n_device_options =
    sizeof tr_device_option_rows / sizeof *tr_device_option_rows;
