/*
 * The floor: receive a netlink dump and drop it, as fast as a process can. Every reader is measured against this.
 *
 *   floor PROTOCOL TYPE FAMILY [HEADER_BYTES [EXT]]
 *                                                  floor 0 26 2     RTM_GETROUTE, AF_INET
 *                                                  floor 0 26 10    RTM_GETROUTE, AF_INET6
 *                                                  floor 0 30 0     RTM_GETNEIGH
 *                                                  floor 0 18 0 16  RTM_GETLINK (struct ifinfomsg is 16 bytes)
 *                                                  floor 0 34 2     RTM_GETRULE
 *
 *                                                  floor 4 20 2 56 66  sock_diag, TCP with tcp_info and skmem
 *
 * With EXT the header is struct inet_diag_req_v2 for TCP in every state with these extensions.
 * The family header is HEADER_BYTES long (default 12), all zero but the family in its first byte. Strict checking, 64 KiB
 * buffer, no look at any payload: only the message headers are walked, to find NLMSG_DONE. Prints one line: octets, user
 * and system CPU seconds, wall seconds, peak RSS in KiB.
 * Exit status 1 with a line on stderr when the kernel answers with an error.
 *
 * cc -O2 -o floor floor.c
 */
#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

static char buffer[64 << 10] __attribute__((aligned(8)));

static double seconds(struct timeval value)
{
	return value.tv_sec + value.tv_usec / 1e6;
}

/* 1 when NLMSG_DONE (or an error) ends this buffer, 0 when more will come, -errno on an error. */
static int finished(ssize_t size)
{
	struct nlmsghdr *message = (struct nlmsghdr *)buffer;
	int left = size;

	for (; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
		if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE) {
			int code = *(int *)NLMSG_DATA(message);

			return code ? code : 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	int one = 1, length, status = 0, done = 0;
	long octets = 0;
	struct timespec before, after;
	struct rusage usage;
	struct {
		struct nlmsghdr header;
		char body[64];
	} request = {0};

	if (argc < 4) {
		fprintf(stderr, "usage: floor PROTOCOL TYPE FAMILY [HEADER_BYTES]\n");
		return 64;
	}
	length = argc > 4 ? atoi(argv[4]) : 12;
	if (length < 1 || length > (int)sizeof(request.body))
		return 64;
	request.header.nlmsg_len = NLMSG_LENGTH(length);
	request.header.nlmsg_type = atoi(argv[2]);
	request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request.header.nlmsg_seq = 1;
	request.body[0] = atoi(argv[3]);
	if (argc > 5) {
		request.body[1] = 6;
		request.body[2] = atoi(argv[5]);
		memset(request.body + 4, 0xff, 4);
	}

	clock_gettime(CLOCK_MONOTONIC, &before);
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, atoi(argv[1]));

	if (fd < 0) {
		perror("socket");
		return 1;
	}
	setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof(one));
	if (send(fd, &request, request.header.nlmsg_len, 0) < 0) {
		perror("send");
		return 1;
	}
	while (!done) {
		ssize_t size = recv(fd, buffer, sizeof(buffer), MSG_TRUNC);

		if (size < 0 || size > (ssize_t)sizeof(buffer)) {
			perror("recv");
			return 1;
		}
		octets += size;
		done = finished(size);
		if (done < 0) {
			fprintf(stderr, "kernel: %s\n", strerror(-done));
			status = 1;
		}
	}
	close(fd);
	clock_gettime(CLOCK_MONOTONIC, &after);
	getrusage(RUSAGE_SELF, &usage);
	printf("octets=%ld user=%.3f system=%.3f wall=%.3f rss_kib=%ld\n", octets, seconds(usage.ru_utime),
	       seconds(usage.ru_stime), after.tv_sec - before.tv_sec + (after.tv_nsec - before.tv_nsec) / 1e9, usage.ru_maxrss);
	return status;
}
