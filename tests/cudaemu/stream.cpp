/* Streams that put off their work until something waits for it, and events.
 *
 * Every operation has a ticket, counted over all streams. To run one, first runs what
 * CUDA orders before it: all earlier tickets of its stream, of the device's default
 * stream (unless the stream is non-blocking) and, for the default stream, of all blocking
 * streams. Whatever else is queued stays so: where the tested program forgot to order
 * something, it finds the memory as it was before. */
#include <algorithm>
#include <chrono>
#include <vector>

#include "cudaemu.h"

struct CUstream_st {
    int device;
    bool blocking, is_default;
    std::deque<cudaemu::operation> queue;
};

struct CUevent_st {
    int device;
    bool timing;
    std::shared_ptr<cudaemu::record> last; /* nullptr: never recorded */
};

namespace
{
/* The default ones as well. */
std::vector<cudaStream_t> &streams = *new std::vector<cudaStream_t>();
uint64_t tickets;

cudaStream_t default_stream(int device)
{
    for (cudaStream_t s : streams) {
        if (s->is_default && s->device == device)
            return s;
    }
    streams.push_back(new CUstream_st{device, true, true, {}});
    return streams.back();
}

void run_before(cudaStream_t stream, uint64_t ticket);

void run_what_precedes(cudaStream_t stream, uint64_t ticket)
{
    if (!stream->blocking)
        return;
    if (!stream->is_default) {
        run_before(default_stream(stream->device), ticket);
        return;
    }
    for (size_t i = 0; i < streams.size(); i++) {
        cudaStream_t s = streams[i];
        if (s->blocking && !s->is_default && s->device == stream->device)
            run_before(s, ticket);
    }
}

/* All of the stream's operations with smaller tickets. Those run in turn before one of
 * them have smaller tickets than it, so this ends. */
void run_before(cudaStream_t stream, uint64_t ticket)
{
    if (stream->queue.empty())
        return;
    cudaemu::device_access all(stream->device); /* once, not for each operation */
    while (!stream->queue.empty() && stream->queue.front().ticket < ticket) {
        cudaemu::operation next = std::move(stream->queue.front());
        stream->queue.pop_front();
        run_what_precedes(stream, next.ticket);
        if (next.run && !cudaemu::device_lost()) {
            cudaemu::device_access access(next.device);
            next.run();
        }
        if (next.marks) {
            next.marks->done = true;
            next.marks->nanoseconds =
                std::chrono::duration_cast<std::chrono::nanoseconds>(
                    std::chrono::steady_clock::now().time_since_epoch())
                    .count();
        }
    }
}

void flush(cudaStream_t stream)
{
    run_before(stream, tickets + 1);
    if (stream->is_default)
        run_what_precedes(stream, tickets + 1);
}

bool exists(cudaStream_t stream)
{
    return std::find(streams.begin(), streams.end(), stream) != streams.end();
}

void push(cudaStream_t stream, cudaemu::operation next)
{
    next.ticket = ++tickets;
    if (next.marks) {
        next.marks->stream = stream;
        next.marks->ticket = next.ticket;
    }
    stream->queue.push_back(std::move(next));
    if (!cudaemu::set().lazy)
        run_before(stream, tickets + 1);
}
} // namespace

namespace cudaemu
{
cudaStream_t find_stream(cudaStream_t stream)
{
    if (!stream)
        return default_stream(current_device());
    return exists(stream) ? stream : nullptr;
}

int stream_device(cudaStream_t stream) { return stream->device; }

void enqueue(cudaStream_t stream, int device, bool now, std::function<void()> run)
{
    push(stream, operation{0, device, std::move(run), nullptr});
    if (now)
        run_before(stream, tickets + 1);
}

/* Streams in the order of the threads: as little may depend on it. */
void flush_all()
{
    std::vector<cudaStream_t> order = streams;
    if (set().reverse)
        std::reverse(order.begin(), order.end());
    for (cudaStream_t s : order)
        run_before(s, tickets + 1);
}

void drop_all()
{
    for (cudaStream_t s : streams) {
        for (operation &dropped : s->queue) {
            if (dropped.marks)
                dropped.marks->done = true; /* nobody waits for it */
        }
        s->queue.clear();
    }
}
} // namespace cudaemu

using namespace cudaemu;

cudaError_t cudaDeviceSynchronize()
{
    return call(__func__, [&] {
        int device = current_device();
        check_wait();
        std::vector<cudaStream_t> order = streams;
        if (set().reverse)
            std::reverse(order.begin(), order.end());
        for (cudaStream_t s : order) {
            if (s->device == device)
                run_before(s, tickets + 1);
        }
        return cudaSuccess;
    });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    return call(__func__, [&] {
        if (flags > cudaStreamNonBlocking)
            return cudaErrorInvalidValue;
        *stream = new CUstream_st{current_device(), flags == 0, false, {}};
        streams.push_back(*stream);
        return cudaSuccess;
    });
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
    return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    return call(
        __func__,
        [&] {
            if (!stream || !exists(stream) || stream->is_default)
                return cudaErrorInvalidResourceHandle;
            run_before(stream, tickets + 1);
            streams.erase(std::find(streams.begin(), streams.end(), stream));
            delete stream;
            return cudaSuccess;
        },
        RELEASE);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    return call(__func__, [&] {
        cudaStream_t found = find_stream(stream);
        if (!found)
            return cudaErrorInvalidResourceHandle;
        check_wait();
        flush(found);
        return cudaSuccess;
    });
}

/* A program that asks again and again gets on: asking runs what is queued. */
cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    return call(__func__, [&] {
        cudaStream_t found = find_stream(stream);
        if (!found)
            return cudaErrorInvalidResourceHandle;
        bool ready = found->queue.empty();
        flush(found);
        return ready ? cudaSuccess : cudaErrorNotReady;
    });
}

static void run_up_to(const std::shared_ptr<record> &r)
{
    if (r && !r->done)
        run_before(r->stream, r->ticket + 1);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    return call(__func__, [&] {
        cudaStream_t found = find_stream(stream);
        if (!found || !event)
            return cudaErrorInvalidResourceHandle;
        std::shared_ptr<record> recorded = event->last;
        if (recorded && !recorded->done)
            enqueue(found, -1, false, [recorded] { run_up_to(recorded); });
        return cudaSuccess;
    });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    return call(__func__, [&] {
        *event = new CUevent_st{current_device(), !(flags & cudaEventDisableTiming), {}};
        return cudaSuccess;
    });
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    return call(__func__, [&] {
        cudaStream_t found = find_stream(stream);
        if (!found || !event || event->device != found->device)
            return cudaErrorInvalidResourceHandle;
        event->last = std::make_shared<record>();
        push(found, operation{0, found->device, nullptr, event->last});
        return cudaSuccess;
    });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    return call(__func__, [&] {
        if (!event)
            return cudaErrorInvalidResourceHandle;
        run_up_to(event->last);
        return cudaSuccess;
    });
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    return call(__func__, [&] {
        if (!event)
            return cudaErrorInvalidResourceHandle;
        bool ready = !event->last || event->last->done;
        run_up_to(event->last);
        return ready ? cudaSuccess : cudaErrorNotReady;
    });
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end)
{
    return call(__func__, [&] {
        if (!start || !end || !start->timing || !end->timing || !start->last ||
            !end->last)
            return cudaErrorInvalidResourceHandle;
        if (!start->last->done || !end->last->done)
            return cudaErrorNotReady;
        *milliseconds =
            (float)(end->last->nanoseconds - start->last->nanoseconds) * 1e-6F;
        return cudaSuccess;
    });
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    return call(
        __func__,
        [&] {
            if (!event)
                return cudaErrorInvalidResourceHandle;
            delete event;
            return cudaSuccess;
        },
        RELEASE);
}
