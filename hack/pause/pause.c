/*
 * The process that holds a pod's namespaces open. It is the first process of the pod's pid namespace (when the pod shares
 * one), so it reaps what the containers' processes orphan, and it ends on SIGTERM or SIGINT: the kernel drops signals to a
 * pid 1 that has no handler for them.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_end(int number) {
  (void)number;
  _exit(0);
}

static void on_child(int number) {
  int saved = errno;
  (void)number;
  while (waitpid(-1, NULL, WNOHANG) > 0) {
  }
  errno = saved;
}

static int handle(int number, void (*handler)(int), int flags) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  action.sa_flags = flags;
  return sigaction(number, &action, NULL);
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "-v") == 0) {
    puts("crid pause 1");
    return 0;
  }
  if (handle(SIGINT, on_end, 0) < 0 || handle(SIGTERM, on_end, 0) < 0 || handle(SIGCHLD, on_child, SA_NOCLDSTOP) < 0) {
    perror("pause: sigaction");
    return 1;
  }
  for (;;) pause();
}
