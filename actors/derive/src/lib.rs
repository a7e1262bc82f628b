//! `#[derive(Message)]` of `umbel-actors`, which re-exports it and documents it.

mod representation;

use proc_macro::TokenStream;
use proc_macro2::{Delimiter, TokenStream as Tokens, TokenTree};
use quote::{ToTokens, quote};
use syn::{Attribute, Data, DeriveInput, Fields, LitStr, parse_macro_input};

/// Makes a type a message of an actor.
///
/// `#[message(remote)]` lets it cross nodes: it must then be serde's too. `#[message(name = "..")]`
/// sets the name that both ends of a link know it by; by default it is the type's. Of serde's
/// attributes a remote message cannot have those that need a format which tells what comes next
/// (`untagged`, `tag`, `flatten`), or leave out on one side what the other expects.
#[proc_macro_derive(Message, attributes(message))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

#[derive(Default)]
struct Options {
    remote: bool,
    name: Option<LitStr>,
}

fn options(input: &DeriveInput) -> syn::Result<Options> {
    let mut options = Options::default();
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("message")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("remote") {
                options.remote = true;
                return Ok(());
            }
            if meta.path.is_ident("name") {
                options.name = Some(meta.value()?.parse()?);
                return Ok(());
            }
            Err(meta.error("expected `remote` or `name = \"...\"`"))
        })?;
    }
    if let Some(name) = &options.name {
        let length = name.value().len();
        if length == 0 || length > 255 {
            return Err(syn::Error::new(name.span(), "a message's name has 1 to 255 bytes"));
        }
    }
    Ok(options)
}

fn expand(input: &DeriveInput) -> syn::Result<Tokens> {
    let options = options(input)?;
    if let Data::Union(data) = &input.data {
        return Err(syn::Error::new(data.union_token.span, "a union cannot be a message"));
    }
    if options.remote && !input.generics.params.is_empty() {
        return Err(syn::Error::new_spanned(
            &input.generics,
            "a message that crosses nodes cannot be generic: the other node must know its type",
        ));
    }
    if options.remote {
        representation::check(input)?;
    }
    let ident = &input.ident;
    let mut generics = input.generics.clone();
    {
        let params: Vec<_> = generics.type_params().map(|param| param.ident.clone()).collect();
        let clause = generics.make_where_clause();
        for param in params {
            clause.predicates.push(syn::parse_quote!(#param: ::core::marker::Send + 'static));
        }
    }
    let (of, with, such) = generics.split_for_impl();
    let name = options.name.map_or_else(|| ident.to_string(), |name| name.value());
    let fingerprint = fingerprint(&name, input);
    let codec = if options.remote {
        quote! { ::core::option::Option::Some(::umbel_actors::__derive::Codec::new()) }
    } else {
        quote! { ::core::option::Option::None }
    };
    let remote = options.remote.then(|| {
        quote! { impl ::umbel_actors::RemoteMessage for #ident {} }
    });
    Ok(quote! {
        #[automatically_derived]
        impl #of ::umbel_actors::__derive::ractor::Message for #ident #with #such {
            fn from_boxed(
                boxed: ::umbel_actors::__derive::ractor::message::BoxedMessage,
            ) -> ::core::result::Result<
                Self,
                ::umbel_actors::__derive::ractor::message::BoxedDowncastErr,
            > {
                ::umbel_actors::__derive::unpack(boxed)
            }

            fn box_message(
                self,
                to: &::umbel_actors::__derive::ractor::ActorId,
            ) -> ::core::result::Result<
                ::umbel_actors::__derive::ractor::message::BoxedMessage,
                ::umbel_actors::__derive::ractor::message::BoxedDowncastErr,
            > {
                ::umbel_actors::__derive::pack(self, to)
            }
        }

        #[automatically_derived]
        impl #of ::umbel_actors::Message for #ident #with #such {
            const NAME: &'static str = #name;
            const FINGERPRINT: u32 = #fingerprint;
            const CODEC: ::core::option::Option<::umbel_actors::__derive::Codec<Self>> = #codec;
        }

        #remote
    })
}

/// FNV-1a (32 bits) over the name, the variants and fields as they are written, and serde's
/// attributes: all that decides the bytes. Visibility, docs and other attributes are left out. It
/// cannot see into the fields' types: it catches the change of a message, not of everything that the
/// message contains.
fn fingerprint(name: &str, input: &DeriveInput) -> u32 {
    let mut text = format!("{name};");
    serde_attributes(&mut text, &input.attrs);
    match &input.data {
        Data::Struct(data) => fields(&mut text, &data.fields),
        Data::Enum(data) => {
            for variant in &data.variants {
                serde_attributes(&mut text, &variant.attrs);
                text.push_str(&variant.ident.to_string());
                text.push('|');
                fields(&mut text, &variant.fields);
            }
        }
        Data::Union(_) => {}
    }
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn fields(text: &mut String, fields: &Fields) {
    for field in fields {
        serde_attributes(text, &field.attrs);
        if let Some(ident) = &field.ident {
            text.push_str(&ident.to_string());
        }
        text.push(':');
        tokens(text, field.ty.to_token_stream());
        text.push(',');
    }
    text.push(';');
}

fn serde_attributes(text: &mut String, attributes: &[Attribute]) {
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        tokens(text, attribute.meta.to_token_stream());
        text.push('#');
    }
}

/// Each token behind a space. The compiler's own printing of a stream may change from one version
/// to the next, and two nodes of the same source would then refuse each other's messages.
fn tokens(text: &mut String, stream: Tokens) {
    for token in stream {
        text.push(' ');
        match token {
            TokenTree::Group(group) => {
                text.push(match group.delimiter() {
                    Delimiter::Parenthesis => '(',
                    Delimiter::Brace => '{',
                    Delimiter::Bracket => '[',
                    Delimiter::None => ' ',
                });
                tokens(text, group.stream());
                text.push_str(" ;");
            }
            TokenTree::Ident(ident) => text.push_str(&ident.to_string()),
            TokenTree::Punct(punct) => text.push(punct.as_char()),
            TokenTree::Literal(literal) => text.push_str(&literal.to_string()),
        }
    }
}
