/* What the race detector has found. */
#ifndef CUDAEMU_RACE_H
#define CUDAEMU_RACE_H

#include <cstdint>
#include <map>
#include <string>

namespace cudaemu
{
/* How often by sentence, since the start or the last forget_races. A program that ends
 * with some prints them and its exit status is 66. */
std::map<std::string, uint64_t> races();
void forget_races();
} // namespace cudaemu

#endif
