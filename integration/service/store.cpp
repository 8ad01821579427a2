#include "halo/integration/service/store.h"

#include <lmdb.h>

#include <array>
#include <cerrno>
#include <string>

#include "halo/core/error.h"

namespace halo::service {
namespace {

constexpr unsigned kMaxReaders = 2048;  // more than the service has threads
constexpr mdb_mode_t kMode = 0600;

[[noreturn]] void fail(int code, const char* what) {
  ErrorCode kind = ErrorCode::kIo;
  if (code == MDB_MAP_FULL || code == ENOSPC || code == EDQUOT) kind = ErrorCode::kNoSpace;
  if (code == MDB_CORRUPTED || code == MDB_PAGE_NOTFOUND || code == MDB_INVALID ||
      code == MDB_VERSION_MISMATCH || code == MDB_PANIC) {
    kind = ErrorCode::kCorrupt;
  }
  if (code == ENOMEM) kind = ErrorCode::kOutOfMemory;
  throw Error(kind, std::string("the store: ") + what + ": " + mdb_strerror(code));
}

void check(int code, const char* what) {
  if (code != MDB_SUCCESS) fail(code, what);
}

// Numbers as keys: big-endian, so that LMDB's byte order is theirs.
class Key {
 public:
  explicit Key(std::uint64_t number) {
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
      bytes_[i] = static_cast<unsigned char>(number >> (56U - 8U * i));
    }
  }
  MDB_val value() { return {bytes_.size(), bytes_.data()}; }
  static std::uint64_t number(const MDB_val& value) {
    if (value.mv_size != 8) throw Error(ErrorCode::kCorrupt, "the store: a key of another size");
    std::uint64_t number = 0;
    for (std::size_t i = 0; i < 8; ++i) {
      number = number << 8U | static_cast<const unsigned char*>(value.mv_data)[i];
    }
    return number;
  }

 private:
  std::array<unsigned char, 8> bytes_{};
};

MDB_val as_value(std::string_view text) {
  return {text.size(), const_cast<char*>(text.data())};  // LMDB does not write to it
}
std::string_view as_text(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

class Cursor {
 public:
  Cursor(MDB_txn* transaction, MDB_dbi table) {
    check(mdb_cursor_open(transaction, table, &cursor_), "open a cursor");
  }
  ~Cursor() { mdb_cursor_close(cursor_); }
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;
  bool get(MDB_val& key, MDB_val& value, MDB_cursor_op operation) {
    const int code = mdb_cursor_get(cursor_, &key, &value, operation);
    if (code == MDB_NOTFOUND) return false;
    check(code, "read");
    return true;
  }
  void erase() { check(mdb_cursor_del(cursor_, 0), "erase"); }

 private:
  MDB_cursor* cursor_ = nullptr;
};

}  // namespace

struct Store::Impl {
  MDB_env* environment = nullptr;
  MDB_dbi items = 0, log = 0, settings = 0;
  ~Impl() {
    if (environment != nullptr) mdb_env_close(environment);
  }

  // A read transaction, ended with the scope.
  class Reading {
   public:
    explicit Reading(const Impl& impl) {
      check(mdb_txn_begin(impl.environment, nullptr, MDB_RDONLY, &transaction), "begin reading");
    }
    ~Reading() { mdb_txn_abort(transaction); }
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;
    std::optional<std::string> get(MDB_dbi table, MDB_val key) const {
      MDB_val value;
      const int code = mdb_get(transaction, table, &key, &value);
      if (code == MDB_NOTFOUND) return std::nullopt;
      check(code, "read");
      return std::string(as_text(value));
    }
    MDB_txn* transaction = nullptr;
  };
};

struct Store::Transaction::Impl {
  Impl(Store::Impl& s, MDB_txn* t) : store(s), transaction(t) {}
  ~Impl() {
    if (transaction != nullptr) mdb_txn_abort(transaction);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  void put(MDB_dbi table, MDB_val key, std::string_view text) const {
    MDB_val value = as_value(text);
    check(mdb_put(transaction, table, &key, &value, 0), "write");
  }
  Store::Impl& store;
  MDB_txn* transaction;
};

Store::Store(const std::filesystem::path& folder, std::size_t map_bytes)
    : impl_(std::make_unique<Impl>()) {
  std::filesystem::create_directories(folder);
  check(mdb_env_create(&impl_->environment), "create");
  check(mdb_env_set_mapsize(impl_->environment, map_bytes), "reserve address space");
  check(mdb_env_set_maxdbs(impl_->environment, 3), "create");
  check(mdb_env_set_maxreaders(impl_->environment, kMaxReaders), "create");
  check(mdb_env_open(impl_->environment, folder.c_str(), MDB_NOTLS, kMode), "open");
  int dead = 0;
  check(mdb_reader_check(impl_->environment, &dead), "clear dead readers");
  MDB_txn* begun = nullptr;
  check(mdb_txn_begin(impl_->environment, nullptr, 0, &begun), "begin writing");
  Transaction::Impl transaction(*impl_, begun);
  check(mdb_dbi_open(begun, "items", MDB_CREATE, &impl_->items), "open a table");
  check(mdb_dbi_open(begun, "log", MDB_CREATE, &impl_->log), "open a table");
  check(mdb_dbi_open(begun, "settings", MDB_CREATE, &impl_->settings), "open a table");
  transaction.transaction = nullptr;
  check(mdb_txn_commit(begun), "commit");
}

Store::~Store() = default;

void Store::write(const std::function<void(Transaction&)>& body) {
  MDB_txn* begun = nullptr;
  check(mdb_txn_begin(impl_->environment, nullptr, 0, &begun), "begin writing");
  Transaction::Impl impl(*impl_, begun);
  Transaction transaction(impl);
  body(transaction);
  impl.transaction = nullptr;  // ended by the commit, whether it succeeds or not
  check(mdb_txn_commit(begun), "commit");
}

void Store::Transaction::put_item(Id id, std::string_view metadata) {
  impl_.put(impl_.store.items, Key(static_cast<std::uint64_t>(id)).value(), metadata);
}

void Store::Transaction::erase_item(Id id) {
  Key key(static_cast<std::uint64_t>(id));
  MDB_val value = key.value();
  const int code = mdb_del(impl_.transaction, impl_.store.items, &value, nullptr);
  if (code != MDB_NOTFOUND) check(code, "erase");
}

void Store::Transaction::put_setting(std::string_view name, std::string_view value) {
  impl_.put(impl_.store.settings, as_value(name), value);
}

void Store::Transaction::append_log(std::uint64_t sequence, std::string_view record) {
  impl_.put(impl_.store.log, Key(sequence).value(), record);
}

void Store::Transaction::trim_log(std::uint64_t sequence) {
  Cursor cursor(impl_.transaction, impl_.store.log);
  MDB_val key, value;
  while (cursor.get(key, value, MDB_FIRST) && Key::number(key) <= sequence) cursor.erase();
}

std::optional<std::string> Store::setting(std::string_view name) const {
  return Impl::Reading(*impl_).get(impl_->settings, as_value(name));
}

std::optional<std::string> Store::item(Id id) const {
  Key key(static_cast<std::uint64_t>(id));
  return Impl::Reading(*impl_).get(impl_->items, key.value());
}

void Store::for_each_item(Id first, const std::function<bool(Id, std::string_view)>& visit) const {
  const Impl::Reading reading(*impl_);
  Cursor cursor(reading.transaction, impl_->items);
  Key from(static_cast<std::uint64_t>(first));
  MDB_val key = from.value(), value;
  for (bool more = cursor.get(key, value, MDB_SET_RANGE); more;
       more = cursor.get(key, value, MDB_NEXT)) {
    if (!visit(static_cast<Id>(Key::number(key)), as_text(value))) return;
  }
}

void Store::for_each_record(
    std::uint64_t sequence,
    const std::function<void(std::uint64_t, std::string_view)>& visit) const {
  const Impl::Reading reading(*impl_);
  Cursor cursor(reading.transaction, impl_->log);
  Key from(sequence + 1);
  MDB_val key = from.value(), value;
  for (bool more = cursor.get(key, value, MDB_SET_RANGE); more;
       more = cursor.get(key, value, MDB_NEXT)) {
    visit(Key::number(key), as_text(value));
  }
}

}  // namespace halo::service
