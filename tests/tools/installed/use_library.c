/* Uses what is installed of the library, and nothing else: a voxel seen at tilt 0, and a
 * mistake. Built by tests/cli/test_library.py with pkg-config and with cmake. */
#include <stdio.h>
#include <tiltrec.h>

enum { N = 6, THICK = 4 };

int main(void)
{
    const double tilts[] = {0.0, 30.0};
    static float volume[THICK][N][N], seen[2][N][N];
    tiltrec_spec spec = {.size = sizeof spec,
                         .n_views = 2,
                         .n_y = N,
                         .n_u = N,
                         .thickness = THICK,
                         .tilts = tilts,
                         .threads = 1};
    tiltrec_operator *A;
    if (tiltrec_create(&A, &spec) != TILTREC_OK) {
        fprintf(stderr, "%s\n", tiltrec_last_error());
        return 1;
    }
    volume[1][2][3] = 5.0f;
    int status = tiltrec_forward(A, &volume[0][0][0], &seen[0][0][0], 0);
    printf("%s %d %g", tiltrec_version(), status, (double)seen[0][2][3]);
    double sum = 0.0;
    for (int y = 0; y < N; y++)
        for (int u = 0; u < N; u++)
            sum += (double)(seen[0][y][u] + seen[1][y][u]);
    printf(" %.4f\n", sum);
    status = tiltrec_solve(A, "SIRT", "iterations=-3", &seen[0][0][0], &volume[0][0][0],
                           0, NULL, NULL);
    printf("%d %s\n", status, tiltrec_last_error());
    tiltrec_destroy(A);
    return 0;
}
