// What a collection keeps in LMDB: its items' metadata, the writes since the last index file, and a
// manifest that says which file that is.
//
// A write is one transaction, on the disk when it returns: after a crash it is there wholly or not
// at all.
//
// Thread-safety: reads from any number of threads; writes exclude each other (LMDB's lock), also
// between processes. Throws kNoSpace, kIo, kCorrupt.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "halo/index/graph_snapshot.h"

namespace halo::service {

class Store {
 public:
  /// Opens or creates the store in `folder`. `map_bytes`: what it may ever hold; address space
  /// only.
  explicit Store(const std::filesystem::path& folder,
                 std::size_t map_bytes = std::size_t{64} << 30U);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  class Transaction {
   public:
    void put_item(Id id, std::string_view metadata);
    void erase_item(Id id);
    void put_setting(std::string_view name, std::string_view value);
    void append_log(std::uint64_t sequence, std::string_view record);
    /// Forgets the records up to and with `sequence`.
    void trim_log(std::uint64_t sequence);

   private:
    friend class Store;
    struct Impl;
    explicit Transaction(Impl& impl) : impl_(impl) {}
    Impl& impl_;
  };
  /// Durable when it returns; nothing of it is there where `body` or the commit throws.
  void write(const std::function<void(Transaction&)>& body);

  std::optional<std::string> setting(std::string_view name) const;
  std::optional<std::string> item(Id id) const;
  /// Items with an id of at least `first`, ascending, until `visit` returns false.
  void for_each_item(Id first, const std::function<bool(Id, std::string_view)>& visit) const;
  /// Log records after `sequence`, in their order.
  void for_each_record(std::uint64_t sequence,
                       const std::function<void(std::uint64_t, std::string_view)>& visit) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace halo::service
