/* Connections within this machine come from the address $SOURCE_ADDRESS, such as 127.0.77.1.
 *
 * Preloaded into a process (LD_PRELOAD), it lets whoever is called know who calls, where all processes share one
 * machine. Any address of 127.0.0.0/8 is there without being set up. Sockets that are bound already, and
 * connections to elsewhere, stay as they are.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static struct in_addr source;

__attribute__((constructor)) static void begin(void) {
    const char *given = getenv("SOURCE_ADDRESS");
    if (!given || inet_pton(AF_INET, given, &source) != 1) source.s_addr = INADDR_ANY;
}

static int is_loopback(const struct sockaddr *to, socklen_t length) {
    struct sockaddr_in address;
    if (!to || length < sizeof address || to->sa_family != AF_INET) return 0;
    memcpy(&address, to, sizeof address);
    return ntohl(address.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

int connect(int fd, const struct sockaddr *to, socklen_t length) {
    static __typeof__(&connect) real;
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "connect");
    if (!real) abort();
    struct sockaddr_in own;
    socklen_t size = sizeof own;
    if (source.s_addr != INADDR_ANY && is_loopback(to, length) &&
        !getsockname(fd, (struct sockaddr *)&own, &size) && own.sin_family == AF_INET &&
        own.sin_addr.s_addr == INADDR_ANY && own.sin_port == 0) {
        /* The port is chosen with the connection: one port can then serve many of them. */
        int yes = 1;
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
        own.sin_addr = source;
        /* It goes on without: that is for whoever is called to notice. */
        bind(fd, (struct sockaddr *)&own, size);
        errno = 0;
    }
    return real(fd, to, length);
}
