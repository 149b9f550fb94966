// Ranks: the processes of one run, and what they do together with tensors.
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../comm/communicator.h"
#include "context.h"

namespace moe::binding {

namespace {

using comm::Communicator;
using comm::Operation;
using comm::Piece;
using comm::Segment;

/// createSegment(size, slotBytes) -> descriptor of the memory that so many ranks share, for child processes to inherit
Napi::Value createSegment(const Napi::CallbackInfo& info) {
  const int64_t size = integer(info.Env(), info[0]), slot = integer(info.Env(), info[1]);
  return Napi::Number::New(info.Env(), Segment::create(static_cast<int>(size), static_cast<size_t>(slot)));
}

/// closeSegment(descriptor): the processes that have it keep it
Napi::Value closeSegment(const Napi::CallbackInfo& info) {
  close(static_cast<int>(integer(info.Env(), info[0])));
  return {};
}

/// openRank(descriptor, rank, seconds) -> { number, size }: this process as one of the ranks, that waits so long for the others
Napi::Value openRank(const Napi::CallbackInfo& info) {
  Context& context = contextOf(info.Env());
  const auto descriptor = static_cast<int>(integer(info.Env(), info[0])), rank = static_cast<int>(integer(info.Env(), info[1]));
  auto communicator = std::make_unique<Communicator>(descriptor, rank, number(info.Env(), info[2]));
  auto out = Napi::Object::New(info.Env());
  out["number"] = static_cast<double>(context.nextNumber);
  out["size"] = communicator->size();
  context.ranks.emplace(context.nextNumber++, std::move(communicator));
  return out;
}

Communicator& rankOf(const Napi::CallbackInfo& info) {
  const auto& ranks = contextOf(info.Env()).ranks;
  const auto found = ranks.find(integer(info.Env(), info[0]));
  if (found == ranks.end()) throw Error("bad-argument", "this communicator was closed already.");
  return *found->second;
}

/// As rankOf(), for a call that moves tensors, which a graph would not repeat.
Communicator& collective(const Napi::CallbackInfo& info) {
  if (contextOf(info.Env()).recording) throw Error("bad-argument", "a graph is being recorded, which repeats ops and no collectives; call them before or after it.");
  return rankOf(info);
}

std::vector<View> viewsOf(const Napi::CallbackInfo& info, size_t at) {
  Context& context = contextOf(info.Env());
  const auto [ids, count] = doublesOf(info.Env(), info[at]);
  std::vector<View> views;
  for (int64_t i = 0; i < count; i++) views.push_back(context.at(static_cast<int64_t>(ids[i])).view);
  return views;
}

/// Tensors, and the rank of each, from two arrays.
std::vector<Piece> piecesOf(const Napi::CallbackInfo& info, size_t at) {
  const std::vector<View> views = viewsOf(info, at);
  const auto [owners, count] = doublesOf(info.Env(), info[at + 1]);
  if (count != static_cast<int64_t>(views.size())) throw Error("bad-argument", "a collective was given tensors and owners of different number.");
  std::vector<Piece> pieces;
  for (size_t i = 0; i < views.size(); i++) pieces.push_back({views[i], static_cast<int>(owners[i])});
  return pieces;
}

Operation operationOf(const Napi::CallbackInfo& info, size_t at) {
  const std::string word = info[at].ToString();
  if (word == "sum") return Operation::sum;
  if (word == "max") return Operation::max;
  throw Error("bad-argument", "the reduction \"" + word + "\" is unknown; use sum or max.");
}

/// allReduce(number, ids, operation, what)
Napi::Value allReduce(const Napi::CallbackInfo& info) {
  collective(info).allReduce(viewsOf(info, 1), operationOf(info, 2), info[3].ToString());
  return {};
}

/// reduceScatter(number, ids, owners, operation, what)
Napi::Value reduceScatter(const Napi::CallbackInfo& info) {
  collective(info).reduceScatter(piecesOf(info, 1), operationOf(info, 3), info[4].ToString());
  return {};
}

/// allGather(number, ids, owners, what)
Napi::Value allGather(const Napi::CallbackInfo& info) {
  collective(info).allGather(piecesOf(info, 1), info[3].ToString());
  return {};
}

/// barrier(number, what, seconds)
Napi::Value barrier(const Napi::CallbackInfo& info) {
  rankOf(info).barrier(info[1].ToString(), number(info.Env(), info[2]));
  return {};
}

/// enterPlace(number, name): what this rank does from now on, for the sentences of those that wait for it
Napi::Value enterPlace(const Napi::CallbackInfo& info) {
  rankOf(info).enter(info[1].ToString());
  return {};
}

/// failRank(number, why): the others are told that this rank comes no more
Napi::Value failRank(const Napi::CallbackInfo& info) {
  rankOf(info).fail(info[1].ToString());
  return {};
}

Napi::Value closeRank(const Napi::CallbackInfo& info) {
  contextOf(info.Env()).ranks.erase(integer(info.Env(), info[0]));
  return {};
}

}  // namespace

void addRanks(Napi::Object exports) {
  add<createSegment>(exports, "createSegment");
  add<closeSegment>(exports, "closeSegment");
  add<openRank>(exports, "openRank");
  add<closeRank>(exports, "closeRank");
  add<allReduce>(exports, "allReduce");
  add<reduceScatter>(exports, "reduceScatter");
  add<allGather>(exports, "allGather");
  add<barrier>(exports, "barrier");
  add<enterPlace>(exports, "enterPlace");
  add<failRank>(exports, "failRank");
}

}  // namespace moe::binding
