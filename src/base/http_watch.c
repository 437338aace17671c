/*
 * Deadlines and parked requests: the watching thread.
 *
 * libmicrohttpd's own timeout counts silence only, so that one byte every two seconds keeps a
 * connection for ever. Here each connection has a deadline, set when it is accepted or free again
 * (the next head), moved on with every piece of a body that arrives or of a reply that leaves, and
 * taken away while a handler runs or the request is parked. A connection past it is shut down,
 * which libmicrohttpd sees as the end of the stream.
 *
 * A reply that goes out before its request was read (a body too large, a head that is refused) ends
 * with a close. Unread bytes would turn that close into a reset, which can destroy the reply on its
 * way. So the watcher keeps a copy of such a descriptor for a moment and reads what still comes.
 *
 * The watcher sleeps in poll(2) until the next deadline; with no connection it sleeps for good.
 */
#include "base/http_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scoped.h"

#include "base/banned.h"

#define CHECK_MS 100 /* deadlines are looked at no more often than this */

int64_t http_rate_ms(const struct http_server *server, uint64_t n)
{
        return HTTP_FREE_MS + (int64_t)(n / (uint64_t)server->body_rate) * 1000;
}

void http_watch_wake(struct http_server *server)
{
        uint64_t one = 1;

        if (write(server->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
                abort();
}

/* Called with the lock. */
static void check_at(struct http_server *server, int64_t ms)
{
        if (ms >= server->next_check_ms)
                return;
        server->next_check_ms = ms;
        http_watch_wake(server);
}

void http_deadline(struct http_server *server, struct http_connection *connection, int64_t ms)
{
        pthread_mutex_lock(&server->lock);
        connection->deadline_ms = ms;
        check_at(server, ms);
        pthread_mutex_unlock(&server->lock);
}

/* Connections */

void http_waiting(struct http_server *server, struct http_connection *connection, bool waiting)
{
        pthread_mutex_lock(&server->lock);
        connection->waiting = waiting;
        pthread_mutex_unlock(&server->lock);
}

/*
 * Called with the lock. Who waits longest for a head makes room for who comes: so idle connections,
 * however many, keep nobody out. Return: whether there is one.
 */
static bool make_room(struct http_server *server)
{
        struct http_connection *longest = NULL;

        if (server->n_leaving >= HTTP_LEAVING_MAX)
                return false;
        for (struct http_connection *c = server->connections; c; c = c->next) {
                if (c->waiting && !c->leaving &&
                    (!longest || c->deadline_ms < longest->deadline_ms))
                        longest = c;
        }
        if (!longest)
                return false;
        shutdown(longest->fd, SHUT_RDWR);
        longest->leaving = true;
        server->n_leaving++;
        return true;
}

enum MHD_Result http_accept_policy(void *data, const struct sockaddr *address, socklen_t n)
{
        struct http_server *server = data;
        bool room;

        pthread_mutex_lock(&server->lock);
        room = !server->closing &&
               (server->n_connections - server->n_leaving < server->connections_max ||
                make_room(server));
        pthread_mutex_unlock(&server->lock);
        return room ? MHD_YES : MHD_NO;
}

static void connection_add(struct http_server *server, struct MHD_Connection *mhd, void **context)
{
        struct http_connection *connection = xcalloc(1, sizeof(*connection));

        connection->fd =
                MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        connection->deadline_ms = clock_ms() + server->header_ms;
        connection->waiting = true;
        *context = connection;
        pthread_mutex_lock(&server->lock);
        connection->next = server->connections;
        if (connection->next)
                connection->next->prev = connection;
        server->connections = connection;
        server->n_connections++;
        check_at(server, connection->deadline_ms);
        pthread_mutex_unlock(&server->lock);
}

/* The descriptor is still open here: libmicrohttpd closes it after this call. */
static void connection_remove(struct http_server *server, struct http_connection *connection)
{
        pthread_mutex_lock(&server->lock);
        if (connection->prev)
                connection->prev->next = connection->next;
        else
                server->connections = connection->next;
        if (connection->next)
                connection->next->prev = connection->prev;
        server->n_connections--;
        server->n_leaving -= connection->leaving;
        if (connection->linger && !server->stopped && server->n_lingers < HTTP_LINGERS_MAX) {
                int fd = fcntl(connection->fd, F_DUPFD_CLOEXEC, 0);

                if (fd >= 0) {
                        server->lingers[server->n_lingers++] = fd;
                        http_watch_wake(server);
                }
        }
        pthread_mutex_unlock(&server->lock);
        free(connection);
}

void http_notify_connection(void *data, struct MHD_Connection *mhd, void **context,
                            enum MHD_ConnectionNotificationCode code)
{
        if (code == MHD_CONNECTION_NOTIFY_STARTED)
                connection_add(data, mhd, context);
        else
                connection_remove(data, take(*context));
}

/* The watching thread */

struct drained {
        int fd;
        int64_t until_ms;
        size_t left;
};

struct watch {
        struct http_server *server;
        struct drained lingers[HTTP_LINGERS_MAX];
        size_t n_lingers;
};

/* Called with the lock. Return: when to look again. */
static int64_t end_overdue(struct http_server *server, int64_t now)
{
        int64_t next = INT64_MAX;

        for (struct http_connection *c = server->connections; c; c = c->next) {
                if (c->deadline_ms <= now) {
                        shutdown(c->fd, SHUT_RDWR);
                        c->deadline_ms = INT64_MAX;
                }
                if (c->deadline_ms < next)
                        next = c->deadline_ms;
        }
        return next;
}

/* Called with the lock. A request that was woken stays in the list until its thread takes it out.
 */
void http_wake_parked(struct http_parked *parked)
{
        parked->woken = true;
        if (parked->suspended)
                MHD_resume_connection(parked->mhd);
        parked->suspended = false;
}

/* Called with the lock. Return: when to look again. */
static int64_t wake_overdue(struct http_server *server, int64_t now)
{
        int64_t next = INT64_MAX;

        for (struct http_parked *p = server->parked; p; p = p->next) {
                if (p->woken)
                        continue;
                if (p->deadline_ms <= now)
                        http_wake_parked(p);
                else if (p->deadline_ms < next)
                        next = p->deadline_ms;
        }
        return next;
}

static void take_lingers(struct watch *watch, int64_t now)
{
        struct http_server *server = watch->server;

        while (server->n_lingers) {
                int fd = server->lingers[--server->n_lingers];

                if (watch->n_lingers == HTTP_LINGERS_MAX) {
                        close(fd);
                        continue;
                }
                watch->lingers[watch->n_lingers++] =
                        (struct drained){fd, now + HTTP_LINGER_MS, HTTP_LINGER_BYTES};
        }
}

/* Reads a little and throws it away. Return: whether there may be more. */
static bool drain(struct drained *one, int64_t now)
{
        char bytes[65536];
        ssize_t n = recv(one->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return now < one->until_ms;
        if (n <= 0 || (size_t)n >= one->left)
                return false;
        one->left -= (size_t)n;
        return now < one->until_ms;
}

static void drain_all(struct watch *watch, int64_t now)
{
        for (size_t i = 0; i < watch->n_lingers;) {
                if (drain(&watch->lingers[i], now)) {
                        i++;
                        continue;
                }
                close(watch->lingers[i].fd);
                watch->lingers[i] = watch->lingers[--watch->n_lingers];
        }
}

static void watch_sleep(struct watch *watch, int64_t until_ms)
{
        struct pollfd fds[HTTP_LINGERS_MAX + 1] = {{watch->server->wake_fd, POLLIN, 0}};
        int64_t now = clock_ms();
        int64_t ms = until_ms == INT64_MAX ? -1 : until_ms > now ? until_ms - now : 0;
        uint64_t count;

        for (size_t i = 0; i < watch->n_lingers; i++) {
                int64_t left = watch->lingers[i].until_ms - now;

                fds[i + 1] = (struct pollfd){watch->lingers[i].fd, POLLIN, 0};
                if (ms < 0 || left < ms)
                        ms = left > 0 ? left : 0;
        }
        if (ms > INT32_MAX)
                ms = INT32_MAX;
        if (poll(fds, watch->n_lingers + 1, (int)ms) < 0 && errno != EINTR)
                abort();
        if (read(watch->server->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
                abort();
}

static int64_t least(int64_t a, int64_t b)
{
        return a < b ? a : b;
}

/* One look at all deadlines. Return: when to look again. */
static int64_t watch_look(struct watch *watch)
{
        struct http_server *server = watch->server;
        int64_t now = clock_ms();
        int64_t next;

        pthread_mutex_lock(&server->lock);
        take_lingers(watch, now);
        if (now >= server->next_check_ms) {
                next = least(end_overdue(server, now), wake_overdue(server, now));
                if (next < now + CHECK_MS)
                        next = now + CHECK_MS;
                server->next_check_ms = next;
        }
        next = server->stopped ? -1 : server->next_check_ms;
        pthread_mutex_unlock(&server->lock);
        return next;
}

void *http_watch_run(void *data)
{
        struct watch *watch = xcalloc(1, sizeof(*watch));

        watch->server = data;
        for (;;) {
                int64_t next = watch_look(watch);

                if (next < 0)
                        break;
                drain_all(watch, clock_ms());
                watch_sleep(watch, next);
        }
        for (size_t i = 0; i < watch->n_lingers; i++)
                close(watch->lingers[i].fd);
        free(watch);
        return NULL;
}

/* Parking */

static size_t wake_slot(const char *key)
{
        uint64_t hash = UINT64_C(14695981039346656037);

        for (; *key; key++)
                hash = (hash ^ (unsigned char)*key) * UINT64_C(1099511628211);
        return hash % HTTP_WAKE_SLOTS;
}

void http_wait(struct http_request *request, const char *key, int64_t deadline_ms)
{
        free(request->parked.key);
        request->parked.key = text_copy(key);
        request->parked.deadline_ms = deadline_ms;
}

void http_wake(struct http_server *server, const char *key)
{
        pthread_mutex_lock(&server->lock);
        server->woken_at[wake_slot(key)] = ++server->wakes;
        for (struct http_parked *p = server->parked; p; p = p->next) {
                if (!p->woken && strcmp(p->key, key) == 0)
                        http_wake_parked(p);
        }
        pthread_mutex_unlock(&server->lock);
}

/* Called with the lock. */
void http_unpark(struct http_server *server, struct http_parked *parked)
{
        if (!parked->listed)
                return;
        if (parked->prev)
                parked->prev->next = parked->next;
        else
                server->parked = parked->next;
        if (parked->next)
                parked->next->prev = parked->prev;
        parked->next = NULL;
        parked->prev = NULL;
        parked->listed = false;
}

/* Parks the request unless its key was woken since the handler began. Return: whether it did. */
bool http_park(struct http_request *request)
{
        struct http_server *server = request->server;
        struct http_parked *parked = &request->parked;
        bool wait;

        assert(parked->key); /* HTTP_WAIT without http_wait() */
        pthread_mutex_lock(&server->lock);
        wait = !server->closing && clock_ms() < parked->deadline_ms &&
               server->woken_at[wake_slot(parked->key)] <= request->wakes_seen;
        if (wait) {
                parked->woken = false;
                parked->suspended = true;
                parked->listed = true;
                parked->next = server->parked;
                if (parked->next)
                        parked->next->prev = parked;
                server->parked = parked;
                MHD_suspend_connection(request->mhd);
                check_at(server, parked->deadline_ms);
        }
        pthread_mutex_unlock(&server->lock);
        return wait;
}
