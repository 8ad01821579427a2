#!/usr/bin/env bash
# A collection's life with curl. Start a service first:  halo serve --data /tmp/halo-data
set -euo pipefail
url=${1:-http://127.0.0.1:8080}
call() { curl --silent --show-error --fail-with-body --header 'Content-Type: application/json' "$@"; echo; }

call -X PUT "$url/collections/shop" -d '{"dim": 4, "metric": "cosine"}'
call "$url/collections/shop/items" -d '{"items": [
  {"id": 1, "vector": [1, 0, 0, 0.1], "metadata": {"kind": "shoe", "price": 40}},
  {"id": 2, "vector": [0.9, 0.1, 0, 0], "metadata": {"kind": "shoe", "price": 90}},
  {"id": 3, "vector": [0, 1, 0, 0], "metadata": {"kind": "shirt", "price": 20}}]}'
call "$url/collections/shop/search" -d '{
  "vector": [1, 0, 0, 0], "k": 2, "with_metadata": true,
  "filter": {"kind": "shoe", "price": {"lt": 100}}}'
call "$url/collections/shop/search" -d '{"id": 1, "k": 3}'
call "$url/collections/shop"
call -X DELETE "$url/collections/shop"
