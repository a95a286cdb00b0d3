/* The entry point of critest's nonewprivs image: setuid root, it says what no_new_privs made of that. */
#include <stdio.h>
#include <unistd.h>

int main(void) {
  printf("Effective uid: %d\n", (int)geteuid());
  return 0;
}
