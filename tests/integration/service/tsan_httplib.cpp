// Debian's httplib is not instrumented: ThreadSanitizer sees it read a function's static set (the
// names of methods), but not the guard that made the set visible to this thread. What the library
// itself touches through libc is therefore not looked at; our code that it calls is.

extern "C" const char* __tsan_default_suppressions();

extern "C" const char* __tsan_default_suppressions() {  // NOLINT(bugprone-reserved-identifier)
  return "called_from_lib:libcpp-httplib.so\n";
}
