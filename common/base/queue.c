#include "common/base/queue.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/mem.h"

struct tr_queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t capacity, head, count;
    bool closed;
    void **items;
};

tr_queue *tr_queue_new(size_t capacity)
{
    tr_queue *queue = tr_calloc("a queue", 1, sizeof *queue);
    if (!queue)
        return NULL;
    queue->items = tr_calloc("a queue", capacity, sizeof *queue->items);
    if (!queue->items) {
        free(queue);
        return NULL;
    }
    queue->capacity = capacity;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->changed, NULL);
    return queue;
}

void tr_queue_free(tr_queue *queue)
{
    if (!queue)
        return;
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
    free(queue->items);
    free(queue);
}

bool tr_queue_push(tr_queue *queue, void *item)
{
    pthread_mutex_lock(&queue->lock);
    while (!queue->closed && queue->count == queue->capacity)
        pthread_cond_wait(&queue->changed, &queue->lock);
    bool open = !queue->closed;
    if (open)
        queue->items[(queue->head + queue->count++) % queue->capacity] = item;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
    return open;
}

void *tr_queue_pop(tr_queue *queue)
{
    void *item = NULL;
    pthread_mutex_lock(&queue->lock);
    while (!queue->closed && queue->count == 0)
        pthread_cond_wait(&queue->changed, &queue->lock);
    if (queue->count) {
        item = queue->items[queue->head];
        queue->head = (queue->head + 1) % queue->capacity;
        queue->count--;
    }
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
    return item;
}

void tr_queue_close(tr_queue *queue, bool discard)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    if (discard)
        queue->count = 0;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}
