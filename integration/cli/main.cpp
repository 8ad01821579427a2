#include <unistd.h>

#include <csignal>
#include <iostream>

#include "halo/integration/cli/app.h"
#include "halo/integration/cli/interrupt.h"

int main(int argc, char** argv) {
  const halo::cli::Interrupt interrupt;
  // A file size limit then is a failing write (no_space), not the end of the process.
  std::signal(SIGXFSZ, SIG_IGN);
  const halo::cli::Streams streams{std::cout, std::cerr, isatty(STDERR_FILENO) == 1};
  const int code = halo::cli::run(argc, argv, streams, interrupt.token());
  // As a shell expects of a program that a signal stopped: 130 after Ctrl-C.
  return interrupt.signal() != 0 && code != 0 ? 128 + interrupt.signal() : code;
}
